// Lookups of vectors of 64 float32, written by hand for one method each: what a layer could cost.
//
// Every function takes a task and does one thread's part of it. Tables are the layer's own, so the
// bytes that are read are the same; `args` are listed above each function. Ids are not checked.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>
#if defined(__AVX512BW__)
#include <immintrin.h>
#endif

using i64 = int64_t;
using u32 = uint32_t;
using u64 = uint64_t;

template <int N>
struct Lanes {
    typedef float type __attribute__((vector_size(4 * N), aligned(4), may_alias));
};
using v2 = Lanes<2>::type;
using v4 = Lanes<4>::type;
using v8 = Lanes<8>::type;
using v16 = Lanes<16>::type;

constexpr int E = 64;       // numbers of a vector
constexpr int BLOCK = 128;  // ids whose addresses are computed together
constexpr float RATE = 1e-3f;  // of SGD's steps

struct Task {
    i64 threads;
    int (*number)();  // of this thread
    int (*team)();    // number of threads
    i64 count;
    const i64* ids;
    float* out;
    i64 args[12];
};

struct Part {
    i64 first, stop;
    explicit Part(const Task& t) : Part(t, t.count) {}
    Part(const Task& t, i64 count) {
        const i64 k = t.threads > 1 ? t.number() : 0, team = t.threads > 1 ? t.team() : 1;
        first = count * k / team;
        stop = count * (k + 1) / team;
    }
};

template <class T>
static T* at(i64 address) {
    return reinterpret_cast<T*>(address);
}

template <int N>
static void copy(const float* source, float* target) {
    using V = typename Lanes<N>::type;
    *(V*)target = *(const V*)source;
}

static void copy_row(const float* source, float* target) {
    for (int k = 0; k < E; k += 16) copy<16>(source + k, target + k);
}

static void prefetch_row(const float* row) {
    for (int k = 0; k < E; k += 16) __builtin_prefetch(row + k);
}

// --- hashes --------------------------------------------------------------------------------------

static inline u32 rotate(u32 x, int n) { return x << n | x >> (32 - n); }

// MurmurHash3 of a key below 2^32, as eight bytes.
static inline u32 murmur3(u32 key, u32 seed) {
    u32 h = seed ^ rotate(key * 0xCC9E2D51u, 15) * 0x1B873593u;
    h = rotate(h, 13) * 5 + 0xE6546B64u;
    h = (rotate(h, 13) * 5 + 0xE6546B64u) ^ 8;
    h = (h ^ h >> 16) * 0x85EBCA6Bu;
    h = (h ^ h >> 13) * 0xC2B2AE35u;
    return h ^ h >> 16;
}

// Remainders by a product with the reciprocal, at most one too small, and a correction.
struct Modulus {
    u32 size, reciprocal;
    explicit Modulus(i64 n)
        : size(n), reciprocal(std::min((u64(1) << 32) / n, (u64(1) << 32) - 1)) {}
    u32 operator()(u32 h) const {
        const u32 rest = h - u32(u64(h) * reciprocal >> 32) * size;
        return std::min(rest, rest - size);
    }
};

static void hashed(const i64* ids, i64 n, u32 seed, Modulus modulus, u32* rows) {
    for (i64 b = 0; b < n; b++) rows[b] = modulus(murmur3(u32(ids[b]), seed));
}

// Per block: compute addresses; then prefetch for the id `ahead`, and write the vector of each.
template <class Addresses, class Prefetch, class Write>
static void lookup(const Task& t, int ahead, Addresses addresses, Prefetch prefetch, Write write) {
    const Part part(t);
    for (i64 first = part.first; first < part.stop; first += BLOCK) {
        const i64 n = std::min<i64>(BLOCK, part.stop - first);
        addresses(t.ids + first, n);
        for (i64 b = 0; b < std::min<i64>(ahead, n); b++) prefetch(b);
        for (i64 b = 0; b < n; b++) {
            if (b + ahead < n) prefetch(b + ahead);
            write(b, t.out + (first + b) * E);
        }
    }
}

// --- rows ----------------------------------------------------------------------------------------

// The full table: table.
extern "C" void full(const Task* t) {
    const auto* table = at<const float>(t->args[0]);
    const i64* ids;
    lookup(
        *t, 16, [&](const i64* block, i64) { ids = block; },
        [&](i64 b) { prefetch_row(table + ids[b] * E); },
        [&](i64 b, float* out) { copy_row(table + ids[b] * E, out); });
}

// A shared row times a number of the id's own: table, rows, numbers.
extern "C" void memcom(const Task* t) {
    const auto *table = at<const float>(t->args[0]), *numbers = at<const float>(t->args[2]);
    const Modulus modulus(t->args[1]);
    const i64* ids;
    const float* row[BLOCK];
    lookup(
        *t, 16,
        [&](const i64* block, i64 n) {
            ids = block;
            for (i64 b = 0; b < n; b++) row[b] = table + i64(modulus(u32(ids[b]))) * E;
        },
        [&](i64 b) {
            __builtin_prefetch(numbers + ids[b]);
            prefetch_row(row[b]);
        },
        [&](i64 b, float* out) {
            const float own = numbers[ids[b]];
            for (int k = 0; k < E; k += 16) *(v16*)(out + k) = *(const v16*)(row[b] + k) * own;
        });
}

// Rows of remainder and quotient, multiplied: both tables, the divisor.
extern "C" void qr(const Task* t) {
    const auto *remainders = at<const float>(t->args[0]), *quotients = at<const float>(t->args[1]);
    const Modulus modulus(t->args[2]);
    const double inverse = 1.0 / double(t->args[2]);
    const float *one[BLOCK], *other[BLOCK];
    lookup(
        *t, 16,
        [&](const i64* ids, i64 n) {
            for (i64 b = 0; b < n; b++) {
                const u32 id = u32(ids[b]), rest = modulus(id);
                one[b] = remainders + i64(rest) * E;
                other[b] = quotients + i64(double(id - rest) * inverse + 0.5) * E;
            }
        },
        [&](i64 b) {
            prefetch_row(one[b]);
            prefetch_row(other[b]);
        },
        [&](i64 b, float* out) {
            for (int k = 0; k < E; k += 16)
                *(v16*)(out + k) = *(const v16*)(one[b] + k) * *(const v16*)(other[b] + k);
        });
}

// Four hashed rows, added: table, rows, seeds.
extern "C" void bloom(const Task* t) {
    const auto* table = at<const float>(t->args[0]);
    const Modulus modulus(t->args[1]);
    const auto* seeds = at<const i64>(t->args[2]);
    u32 rows[4][BLOCK];
    lookup(
        *t, 6,
        [&](const i64* ids, i64 n) {
            for (int j = 0; j < 4; j++) hashed(ids, n, u32(seeds[j]), modulus, rows[j]);
        },
        [&](i64 b) {
            for (int j = 0; j < 4; j++) prefetch_row(table + i64(rows[j][b]) * E);
        },
        [&](i64 b, float* out) {
            const float* row[4];
            for (int j = 0; j < 4; j++) row[j] = table + i64(rows[j][b]) * E;
            for (int k = 0; k < E; k += 16) {
                v16 x = *(const v16*)(row[0] + k);
                for (int j = 1; j < 4; j++) x += *(const v16*)(row[j] + k);
                *(v16*)(out + k) = x;
            }
        });
}

// Eight runs of eight cells: memory, cells, seed.
extern "C" void robe(const Task* t) {
    constexpr int RUN = 8, RUNS = E / RUN;
    const auto* memory = at<const float>(t->args[0]);
    const i64 cells = t->args[1];
    const Modulus modulus(cells);
    const u32 seed = u32(*at<const i64>(t->args[2]));
    u32 starts[RUNS][BLOCK];
    lookup(
        *t, 8,
        [&](const i64* ids, i64 n) {
            for (int c = 0; c < RUNS; c++) hashed(ids, n, murmur3(c, seed), modulus, starts[c]);
        },
        [&](i64 b) {
            for (int c = 0; c < RUNS; c++) {
                __builtin_prefetch(memory + starts[c][b]);
                __builtin_prefetch(memory + starts[c][b] + RUN - 1);
            }
        },
        [&](i64 b, float* out) {
            for (int c = 0; c < RUNS; c++, out += RUN) {
                const i64 start = starts[c][b];
                if (start + RUN <= cells)
                    copy<RUN>(memory + start, out);
                else
                    for (int k = 0; k < RUN; k++) out[k] = memory[(start + k) % cells];
            }
        });
}

// --- stored codes --------------------------------------------------------------------------------

// The eight bytes from `place` on; those beyond the end are 0.
static inline u64 word_at(const uint8_t* codes, i64 size, i64 place) {
    u64 word = 0;
    if (place + 8 <= size)
        std::memcpy(&word, codes + place, 8);
    else if (place < size)
        std::memcpy(&word, codes + place, size - place);
    return word;
}

// Four columns, a stored row plus a hashed one: centres, residuals, rows, seeds, map, its bytes,
// bits.
extern "C" void cce(const Task* t) {
    const auto *centres = at<const float>(t->args[0]), *residuals = at<const float>(t->args[1]);
    const i64 rows = t->args[2], size = t->args[5], bits = t->args[6];
    const Modulus modulus(rows);
    const auto* seeds = at<const i64>(t->args[3]);
    const auto* map = at<const uint8_t>(t->args[4]);
    const u64 mask = (u64(1) << bits) - 1;
    u32 stored[BLOCK][4], drawn[4][BLOCK];
    lookup(
        *t, 10,
        [&](const i64* ids, i64 n) {
            for (i64 b = 0; b < n; b++) __builtin_prefetch(map + ids[b] * 4 * bits / 8);
            for (int j = 0; j < 4; j++) hashed(ids, n, u32(seeds[j]), modulus, drawn[j]);
            for (i64 b = 0; b < n; b++)
                for (int j = 0; j < 4; j++) {
                    const i64 bit = (ids[b] * 4 + j) * bits;
                    stored[b][j] = u32(word_at(map, size, bit / 8) >> bit % 8 & mask);
                }
        },
        [&](i64 b) {
            for (int j = 0; j < 4; j++) {
                __builtin_prefetch(centres + (j * rows + stored[b][j]) * 16);
                __builtin_prefetch(residuals + (j * rows + drawn[j][b]) * 16);
            }
        },
        [&](i64 b, float* out) {
            for (int j = 0; j < 4; j++)
                *(v16*)(out + 16 * j) = *(const v16*)(centres + (j * rows + stored[b][j]) * 16) +
                                        *(const v16*)(residuals + (j * rows + drawn[j][b]) * 16);
        });
}

// One codeword of each group, by codes of BITS bits.
template <int BITS, int GROUPS>
static inline void codewords(
    const float* values, i64 book, const uint8_t* codes, i64 size, i64 id, float* out) {
    constexpr int WIDTH = E / GROUPS, BYTES = BITS * GROUPS / 8;
    static_assert(BITS * GROUPS % 8 == 0, "the codes of an id are whole bytes");
    uint8_t last[BYTES + 8];
    const uint8_t* own = codes + id * BYTES;
    if (id * BYTES + BYTES + 8 > size) {
        std::memcpy(last, own, BYTES);
        own = last;
    }
#pragma GCC unroll 32
    for (int j = 0; j < GROUPS; j++) {
        u64 word;
        std::memcpy(&word, own + j * BITS / 8, 8);
        const u64 code = word >> j * BITS % 8 & ((1 << BITS) - 1);
        copy<WIDTH>(values + (j * book + code) * WIDTH, out + j * WIDTH);
    }
}

// Codes of 7 bits in 16 groups: values, codewords of a group, codes, their bytes.
extern "C" void dpq(const Task* t) {
    const auto* values = at<const float>(t->args[0]);
    const auto* codes = at<const uint8_t>(t->args[2]);
    const i64 book = t->args[1], size = t->args[3];
    const i64* ids;
    lookup(
        *t, 24, [&](const i64* block, i64) { ids = block; },
        [&](i64 b) {
            __builtin_prefetch(codes + ids[b] * 14);
            __builtin_prefetch(codes + ids[b] * 14 + 13);
        },
        [&](i64 b, float* out) { codewords<7, 16>(values, book, codes, size, ids[b], out); });
}

// Codes of 5 bits for frequent ids, of 3 bits for rare ones, in 32 groups: values, codewords of a
// group, codes and bytes of the frequent ids, codes and bytes of the rare ones, frequent ids.
extern "C" void mgqe(const Task* t) {
    const auto* values = at<const float>(t->args[0]);
    const auto *often = at<const uint8_t>(t->args[2]), *rarely = at<const uint8_t>(t->args[4]);
    const i64 book = t->args[1], frequent = t->args[6];
    const i64* ids;
    lookup(
        *t, 24, [&](const i64* block, i64) { ids = block; },
        [&](i64 b) {
            const i64 id = ids[b];
            const auto* own = id < frequent ? often + id * 20 : rarely + (id - frequent) * 12;
            __builtin_prefetch(own);
            __builtin_prefetch(own + 11);
        },
        [&](i64 b, float* out) {
            const i64 id = ids[b];
            if (id < frequent)
                codewords<5, 32>(values, book, often, t->args[3], id, out);
            else
                codewords<3, 32>(values, book, rarely, t->args[5], id - frequent, out);
        });
}

// Single cells, addressed by four of an id's eight bytes: memory, cells, signatures, picks (64 x 4,
// int64), seeds (64, int64).
// `use` gets the number of an id in the batch, and its cells.
template <class Use>
static void each_signature(const Task* t, Use use) {
    constexpr int AHEAD = 8, RING = 16;
    const auto* memory = at<const float>(t->args[0]);
    const auto* signatures = at<const uint8_t>(t->args[2]);
    const auto *picks = at<const i64>(t->args[3]), *given = at<const i64>(t->args[4]);
    const Modulus modulus(t->args[1]);
    alignas(64) u32 seeds[E], cells[RING][E];
    alignas(64) uint8_t turns[E * 4];
    for (int j = 0; j < E; j++) {
        seeds[j] = u32(given[j]);
        for (int k = 0; k < 4; k++) turns[4 * j + 3 - k] = uint8_t(picks[4 * j + k]);
    }
    const Part part(*t);
    const auto find = [&](i64 i) {
        const uint8_t* own = signatures + t->ids[i] * 8;
        u32* found = cells[i % RING];
        alignas(64) u32 words[E];
#if defined(__AVX512BW__)
        i64 all;
        std::memcpy(&all, own, 8);
        for (int j = 0; j < E; j += 16)
            _mm512_store_si512(
                words + j,
                _mm512_shuffle_epi8(_mm512_set1_epi64(all), _mm512_load_si512(turns + 4 * j)));
#else
        auto* bytes = reinterpret_cast<uint8_t*>(words);
        for (int k = 0; k < 4 * E; k++) bytes[k] = own[turns[k]];
#endif
        for (int j = 0; j < E; j++) found[j] = modulus(murmur3(words[j], seeds[j]));
        for (int j = 0; j < E; j++) __builtin_prefetch(memory + found[j]);
    };
    for (i64 i = part.first; i < std::min(part.first + AHEAD, part.stop); i++) find(i);
    for (i64 i = part.first; i < part.stop; i++) {
        if (i + 4 * AHEAD < part.stop) __builtin_prefetch(signatures + t->ids[i + 4 * AHEAD] * 8);
        if (i + AHEAD < part.stop) find(i + AHEAD);
        use(i, cells[i % RING]);
    }
}

extern "C" void lma(const Task* t) {
    const auto* memory = at<const float>(t->args[0]);
    each_signature(t, [&](i64 i, const u32* cells) {
        for (int j = 0; j < E; j++) t->out[i * E + j] = memory[cells[j]];
    });
}

// A step of SGD: `out` holds the gradients. Of two threads that meet in a cell, one may be lost.
extern "C" void lma_step(const Task* t) {
    auto* memory = at<float>(t->args[0]);
    each_signature(t, [&](i64 i, const u32* cells) {
        for (int j = 0; j < E; j++) memory[cells[j]] -= RATE * t->out[i * E + j];
    });
}

// --- rows of different lengths -------------------------------------------------------------------

// First piece and number of pieces of each row, by packed starts of at most 28 bits.
static void find_ends(
    const uint8_t* starts, i64 size, i64 bits, const i64* ids, i64 n, u32* first, u32* pieces) {
    const u64 mask = (u64(1) << bits) - 1;
    for (i64 b = 0; b < n; b++) __builtin_prefetch(starts + ids[b] * bits / 8);
    for (i64 b = 0; b < n; b++) {
        const i64 bit = ids[b] * bits;
        const u64 word = word_at(starts, size, bit / 8) >> bit % 8;
        first[b] = u32(word & mask);
        pieces[b] = u32((word >> bits & mask) - (word & mask));
    }
}

// The first numbers of a vector: values, how many, starts, their bytes, bits.
extern "C" void jagged(const Task* t) {
    const auto *values = at<const float>(t->args[0]), *end = values + t->args[1];
    const auto* starts = at<const uint8_t>(t->args[2]);
    u32 first[BLOCK], length[BLOCK];
    lookup(
        *t, 16,
        [&](const i64* ids, i64 n) {
            find_ends(starts, t->args[3], t->args[4], ids, n, first, length);
        },
        [&](i64 b) { __builtin_prefetch(values + first[b]); },
        [&](i64 b, float* out) {
            typedef int lanes __attribute__((vector_size(64)));
            const lanes numbers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
            const float* row = values + first[b];
            float last[E];
            if (row + E > end) {  // a vector would be read beyond the values
                std::memcpy(last, row, 4 * length[b]);
                std::memset(last + length[b], 0, 4 * (E - length[b]));
                row = last;
            }
            for (int k = 0; k < E; k += 16) {
                v16 x = {};
                if (k < int(length[b])) {
                    const lanes own = numbers < int(length[b]) - k;
                    const v16 all = *(const v16*)(row + k);
                    x = own ? all : x;
                }
                *(v16*)(out + k) = x;
            }
        });
}

// Pieces of SIZE numbers, each in its place: values, how many pieces, starts, their bytes, bits,
// places, their bytes, bits (at most 14).
template <int SIZE>
static void listed(const Task* t) {
    constexpr i64 FEW = SIZE == 1 ? 4 : 2;  // pieces that are written whether a row has them or not
    using V = typename Lanes<SIZE>::type;
    const auto* values = at<const float>(t->args[0]);
    const auto *starts = at<const uint8_t>(t->args[2]), *places = at<const uint8_t>(t->args[5]);
    const i64 highest = t->args[1] - 1, size = t->args[6], bits = t->args[7];
    const u64 mask = (u64(1) << bits) - 1;
    u32 first[BLOCK], pieces[BLOCK];
    const auto word_of = [&](i64 piece) {
        return word_at(places, size, piece * bits / 8) >> piece * bits % 8;
    };
    lookup(
        *t, 16,
        [&](const i64* ids, i64 n) {
            find_ends(starts, t->args[3], t->args[4], ids, n, first, pieces);
        },
        [&](i64 b) {
            __builtin_prefetch(values + i64(first[b]) * SIZE);
            __builtin_prefetch(places + first[b] * bits / 8);
        },
        [&](i64 b, float* out) {
            const i64 begin = first[b], count = pieces[b];
            const u64 word = word_of(begin);
            for (int k = 0; k < E; k += 16) *(v16*)(out + k) = v16{};
            // The last piece of a shorter row is written again; in an empty one, zeros.
            for (i64 j = 0; j < FEW; j++) {
                const i64 own = std::max<i64>(0, std::min(j, count - 1));
                const V all = *(const V*)(values + std::min(begin + own, highest) * SIZE);
                *(V*)(out + (word >> own * bits & mask) * SIZE) = count > 0 ? all : V{};
            }
            for (i64 j = FEW; j < count; j++)
                copy<SIZE>(
                    values + (begin + j) * SIZE, out + (word_of(begin + j) & mask) * SIZE);
        });
}

extern "C" void csr(const Task* t) { listed<1>(t); }
extern "C" void csr_of_four(const Task* t) { listed<4>(t); }

// --- products ------------------------------------------------------------------------------------

// ROWS rows of numbers times one matrix, depth x C, `pitch` numbers from row to row.
// Eight sums or more at a time, so that none waits for its last addition.
template <int ROWS, int C>
static inline void multiply(
    const float* const* x, i64 depth, const float* matrix, i64 pitch, float* const* out) {
    constexpr int V = C / 16, WAYS = ROWS * V < 8 ? 2 : 1;
    v16 total[WAYS][ROWS][V] = {};
    i64 k = 0;
    for (; k + WAYS <= depth; k += WAYS)
#pragma GCC unroll 2
        for (int w = 0; w < WAYS; w++)
#pragma GCC unroll 4
            for (int c = 0; c < V; c++) {
                const v16 line = *(const v16*)(matrix + (k + w) * pitch + 16 * c);
#pragma GCC unroll 6
                for (int r = 0; r < ROWS; r++) total[w][r][c] += x[r][k + w] * line;
            }
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < V; c++) {
            v16 sum = total[0][r][c];
            if (WAYS == 2) sum += total[WAYS - 1][r][c];
            if (k < depth) sum += x[r][k] * *(const v16*)(matrix + k * pitch + 16 * c);
            *(v16*)(out[r] + 16 * c) = sum;
        }
}

// A row times the matrix of its range of ids: ranges (at most 8), then addresses of their starts,
// widths, tables, and matrices (int64 each).
extern "C" void mixed_dim(const Task* t) {
    const i64 ranges = t->args[0];
    const auto *starts = at<const i64>(t->args[1]), *widths = at<const i64>(t->args[2]);
    const auto *tables = at<const i64>(t->args[3]), *matrices = at<const i64>(t->args[4]);
    const float* rows[BLOCK];
    uint8_t range[BLOCK];
    lookup(
        *t, 24,
        [&](const i64* ids, i64 n) {
            for (i64 b = 0; b < n; b++) {
                int f = 0;
                for (i64 k = 1; k < ranges; k++) f += ids[b] >= starts[k];
                range[b] = uint8_t(f);
                rows[b] = at<const float>(tables[f]) + (ids[b] - starts[f]) * widths[f];
            }
        },
        [&](i64 b) { __builtin_prefetch(rows[b]); },
        [&](i64 b, float* out) {
            const i64 f = range[b];
            multiply<1, E>(&rows[b], widths[f], at<const float>(matrices[f]), E, &out);
        });
}

// A row times one matrix of a class: table, rows, maps, classes. Ids are sorted by class first.
extern "C" void path(const Task* t) {
    const auto *table = at<const float>(t->args[0]), *maps = at<const float>(t->args[2]);
    const i64 rows = t->args[1], classes = t->args[3];
    const Part part(*t);
    std::vector<i64> ends(classes + 1), order(part.stop - part.first);
    for (i64 i = part.first; i < part.stop; i++) ends[t->ids[i] / rows + 1]++;
    for (i64 c = 0; c < classes; c++) ends[c + 1] += ends[c];
    for (i64 i = part.first; i < part.stop; i++) order[ends[t->ids[i] / rows]++] = i;
    i64 k = 0;
    for (i64 c = 0; c < classes; c++) {
        const float *x[6], *matrix = maps + c * E * E;
        float* out[6];
        const auto take = [&](int r) {
            x[r] = table + (t->ids[order[k + r]] - c * rows) * E;
            out[r] = t->out + order[k + r] * E;
        };
        for (; k + 6 <= ends[c]; k += 6) {
            for (int r = 0; r < 6; r++) take(r);
            multiply<6, E>(x, E, matrix, E, out);
        }
        for (; k < ends[c]; k++) {
            take(0);
            multiply<1, E>(x, E, matrix, E, out);
        }
    }
}

// A tensor train with factors 4 x 4 x 4 of the width, in three steps, as the tails of all ids come
// before the vectors. Cores 0 to 2, their rows m1 to m3, rank R, marks (m2 m3, uint8), tails
// (m2 m3 x R x 16).

// Marks the tails that occur, id / m1; by one thread.
extern "C" void tt_marks(const Task* t) {
    auto* marks = at<uint8_t>(t->args[7]);
    std::memset(marks, 0, t->args[4] * t->args[5]);
    for (i64 i = 0; i < t->count; i++) marks[t->ids[i] / t->args[3]] = 1;
}

// Tail: the middle slice, R 4 x R, times the last one, R x 4. Up to 8 tails of a slice share it.
extern "C" void tt_tails(const Task* t) {
    const i64 m2 = t->args[4], m3 = t->args[5], rank = t->args[6];
    const auto *middle = at<const float>(t->args[1]), *last = at<const float>(t->args[2]);
    const auto* marks = at<const uint8_t>(t->args[7]);
    const Part part(*t, m2);
    std::vector<float> packed(rank * 32), product(rank * 4 * 32);
    for (i64 m = part.first; m < part.stop; m++) {
        i64 tails[8], k = 0;
        while (true) {
            int n = 0;
            for (; k < m3 && n < 8; k++)
                if (marks[k * m2 + m]) tails[n++] = k;
            if (n == 0) break;
            for (i64 r = 0; r < rank; r++)
                for (int v = 0; v < n; v++)
                    copy<4>(last + (tails[v] * rank + r) * 4, &packed[r * 32 + v * 4]);
            const float* slice = middle + m * rank * 4 * rank;
            for (i64 row = 0; row < rank * 4; row += 4) {
                const float* x[4];
                float* out[4];
                for (int r = 0; r < 4; r++) {
                    x[r] = slice + (row + r) * rank;
                    out[r] = &product[(row + r) * 32];
                }
                if (n > 4)
                    multiply<4, 32>(x, rank, packed.data(), 32, out);
                else
                    multiply<4, 16>(x, rank, packed.data(), 32, out);
            }
            for (int v = 0; v < n; v++) {
                float* tail = at<float>(t->args[8]) + (tails[v] * m2 + m) * rank * 16;
                for (i64 row = 0; row < rank * 4; row++)
                    copy<4>(&product[row * 32 + v * 4], tail + row * 4);
            }
        }
    }
}

// Vector: the first slice, 4 x R, times the tail, R x 16.
extern "C" void tt(const Task* t) {
    const i64 m1 = t->args[3], rank = t->args[6];
    const auto *first = at<const float>(t->args[0]), *tails = at<const float>(t->args[8]);
    const Part part(*t);
    for (i64 i = part.first; i < part.stop; i++) {
        const i64 tail = t->ids[i] / m1;
        const float *x[4], *slice = first + (t->ids[i] - tail * m1) * 4 * rank;
        float* out[4];
        for (int r = 0; r < 4; r++) {
            x[r] = slice + r * rank;
            out[r] = t->out + i * E + 16 * r;
        }
        multiply<4, 16>(x, rank, tails + tail * rank * 16, 16, out);
    }
}

// --- a training step of MEmCom -------------------------------------------------------------------

// table, its rows, multiplier, ids it is for, gradients of the vectors, keys (two sorts of `count`
// and as many spare), dots (`count`). A key is a row, and below it the number of the id that read it.
struct Memcom {
    float* table;
    i64 rows;
    float* multiplier;
    i64 size;
    const float* gradients;
    u64* keys;
    float* dots;
    explicit Memcom(const Task& t)
        : table(at<float>(t.args[0])), rows(t.args[1]), multiplier(at<float>(t.args[2])),
          size(t.args[3]), gradients(at<const float>(t.args[4])), keys(at<u64>(t.args[5])),
          dots(at<float>(t.args[6])) {}
};

// One thread sorts what was read of the table, another what was read of the multiplier.
extern "C" void memcom_sort(const Task* t) {
    constexpr int BITS = 11;
    const Memcom m(*t);
    const Part part(*t, 2);
    for (i64 which = part.first; which < part.stop; which++) {
        u64 *keys = m.keys + which * t->count, *spare = keys + 2 * t->count;
        for (i64 i = 0; i < t->count; i++)
            keys[i] = u64(which ? t->ids[i] : t->ids[i] % m.rows) << 32 | u64(i);
        const i64 most = which ? m.size : m.rows;
        bool moved = false;
        for (int bit = 32; (most - 1) >> (bit - 32); bit += BITS) {
            i64 begins[1 << BITS] = {}, total = 0;
            const auto digit = [&](u64 key) { return key >> bit & ((1 << BITS) - 1); };
            for (i64 i = 0; i < t->count; i++) begins[digit(keys[i])]++;
            for (i64& begin : begins) total += std::exchange(begin, total);
            for (i64 i = 0; i < t->count; i++) spare[begins[digit(keys[i])]++] = keys[i];
            std::swap(keys, spare);
            moved = !moved;
        }
        if (moved) std::copy(keys, keys + t->count, spare);
    }
}

// The end of the reads of the row that was read before `p`.
static i64 row_end(const u64* keys, i64 p, i64 count) {
    while (p > 0 && p < count && keys[p] >> 32 == keys[p - 1] >> 32) p++;
    return p;
}

extern "C" void memcom_rows(const Task* t) {
    constexpr int AHEAD = 8;
    const Memcom m(*t);
    const Part part(*t);
    const i64 stop = row_end(m.keys, part.stop, t->count);
    for (i64 p = row_end(m.keys, part.first, t->count); p < stop;) {
        const u64 row = m.keys[p] >> 32;
        float* own = m.table + row * E;
        v16 sum[E / 16] = {};
        for (; p < stop && m.keys[p] >> 32 == row; p++) {
            if (p + AHEAD < stop) {
                const u64 later = m.keys[p + AHEAD];
                prefetch_row(m.gradients + u32(later) * E);
                prefetch_row(m.table + (later >> 32) * E);
            }
            const i64 i = u32(m.keys[p]);
            const float scale = m.multiplier[t->ids[i]];
            v16 product = {};
            for (int k = 0; k < E / 16; k++) {
                const v16 g = *(const v16*)(m.gradients + i * E + 16 * k);
                sum[k] += g * scale;
                product += g * *(const v16*)(own + 16 * k);
            }
            float dot = 0;
            for (int k = 0; k < 16; k++) dot += product[k];
            m.dots[i] = dot;
        }
        for (int k = 0; k < E / 16; k++) *(v16*)(own + 16 * k) -= RATE * sum[k];
    }
}

extern "C" void memcom_numbers(const Task* t) {
    constexpr int AHEAD = 12;
    const Memcom m(*t);
    const Part part(*t);
    const u64* keys = m.keys + t->count;
    const i64 stop = row_end(keys, part.stop, t->count);
    for (i64 p = row_end(keys, part.first, t->count); p < stop;) {
        const u64 row = keys[p] >> 32;
        float sum = 0;
        for (; p < stop && keys[p] >> 32 == row; p++) {
            if (p + AHEAD < stop) __builtin_prefetch(m.multiplier + (keys[p + AHEAD] >> 32));
            sum += m.dots[u32(keys[p])];
        }
        m.multiplier[row] -= RATE * sum;
    }
}
