// A page opened from the file system may not read other pages, so search shows titles only there.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
