/* Which units are the largest: so many of each layer, and of all others so many in all.
 *
 * Units are taken by their keys, whole numbers in the order of the values: the bits of floats, plus
 * one; 0 for negative ones. A histogram of the upper bits of all keys says in which of its buckets
 * the limit lies, and a radix select of that bucket's keys where: no sort, and no worst case. What
 * stays are keys above the limit, and of those at it the last ones of the network.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "library.h"

#define SMALL 8192 /* units of a layer that has no histogram of its own, and fits the cache */
#define PIECE 2048 /* keys that are looked at together */
#define DIGIT 256
#define WORD 8
#define TABLES 4

/* What l1prune.weights.selection writes, eight bytes each. */
typedef struct {
    const void *values;
    const uint8_t *last;  /* where units count as negative; NULL: nowhere */
    const uint8_t *first; /* where they count as infinite, those of `last` too; NULL: nowhere */
    uint8_t *kept;        /* what is to be found */
    int64_t count;
    int64_t floor; /* how many of its largest stay in any case */
} Layer;

#define DEFINE(T, I, U, NAME, BITS, SHIFT, INFINITE)                                              \
    typedef struct {                                                                              \
        uint32_t *counts; /* of its keys, by bucket; NULL: a small layer */                       \
        U lowest;         /* the smallest key of its floor; all bits set: it does not matter */   \
        int64_t ties;     /* keys that equal that */                                              \
        int64_t needed;   /* so many of them belong to the floor, the last ones */                \
        int64_t above;    /* of its keys, how many are in buckets above that of the limit */      \
        int64_t bucket;   /* in which its floor ends; -1: it has none */                          \
        int64_t begin, end; /* of its candidates */                                               \
    } Found_##NAME;                                                                               \
                                                                                                  \
    FOR_EACH_MACHINE static void keys_##NAME(                                                     \
        const Layer *layer, int64_t at, int64_t n, U *restrict keys) {                            \
        const I *restrict bits = (const I *)layer->values + at;                                   \
        for (int64_t i = 0; i < n; i++) {                                                         \
            I key = (I)((U)bits[i] + 1);                                                          \
            keys[i] = (U)(key < 0 ? 0 : key);                                                     \
        }                                                                                         \
        if (layer->last)                                                                          \
            for (int64_t i = 0; i < n; i++) keys[i] = layer->last[at + i] ? 0 : keys[i];          \
        if (layer->first)                                                                         \
            for (int64_t i = 0; i < n; i++) keys[i] = layer->first[at + i] ? INFINITE : keys[i];  \
    }                                                                                             \
                                                                                                  \
    FOR_EACH_MACHINE static void above_##NAME(                                                    \
        const U *restrict keys, U limit, int64_t n, uint8_t *restrict kept) {                     \
        for (int64_t i = 0; i < n; i++) kept[i] = keys[i] > limit;                                \
    }                                                                                             \
                                                                                                  \
    static int64_t piece_##NAME(const Layer *layer, int64_t at, U *keys) {                        \
        int64_t n = layer->count - at < PIECE ? layer->count - at : PIECE;                        \
        keys_##NAME(layer, at, n, keys);                                                          \
        return n;                                                                                 \
    }                                                                                             \
                                                                                                  \
    /* The m-th largest of n keys, which are used up. */                                          \
    static U largest_##NAME(U *keys, int64_t n, int64_t m) {                                      \
        U found = 0;                                                                              \
        for (int shift = BITS - 8;; shift -= 8) {                                                 \
            uint32_t counts[DIGIT] = {0};                                                         \
            for (int64_t i = 0; i < n; i++) counts[(keys[i] >> shift) & (DIGIT - 1)]++;           \
            U digit = DIGIT - 1;                                                                  \
            while (counts[digit] < m) m -= counts[digit--];                                       \
            found |= digit << shift;                                                              \
            if (!shift) return found;                                                             \
            int64_t left = 0;                                                                     \
            for (int64_t i = 0; i < n; i++) {                                                     \
                U key = keys[i];                                                                  \
                keys[left] = key;                                                                 \
                left += ((key >> shift) & (DIGIT - 1)) == digit;                                  \
            }                                                                                     \
            n = left;                                                                             \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    /* Where a floor ends: the m-th largest of n keys, of which m are of the floor. */            \
    static void floor_##NAME(Found_##NAME *found, const U *keys, int64_t n, int64_t m, U *room) { \
        memcpy(room, keys, (size_t)n * sizeof(U));                                                \
        U lowest = largest_##NAME(room, n, m);                                                    \
        int64_t ties = 0, larger = 0;                                                             \
        for (int64_t i = 0; i < n; i++) {                                                         \
            ties += keys[i] == lowest;                                                            \
            larger += keys[i] > lowest;                                                           \
        }                                                                                         \
        found->lowest = lowest;                                                                   \
        found->ties = ties;                                                                       \
        found->needed = m - larger;                                                               \
    }                                                                                             \
                                                                                                  \
    /* A small layer: its floor, and how many others are in each bucket. */                       \
    static void look_small_##NAME(                                                                \
        const Layer *layer, Found_##NAME *found, int64_t *others, U *keys, U *room) {             \
        int64_t n = layer->count;                                                                 \
        keys_##NAME(layer, 0, n, keys);                                                           \
        if (layer->floor) floor_##NAME(found, keys, n, layer->floor, room);                       \
        for (int64_t i = 0; i < n; i++) others[keys[i] >> SHIFT] += keys[i] < found->lowest;      \
        if (layer->floor) others[found->lowest >> SHIFT] += found->ties - found->needed;          \
    }                                                                                             \
                                                                                                  \
    /* A large one: how many keys are in each bucket, and how many of them beyond the floor. */   \
    static void look_##NAME(const Layer *layer, Found_##NAME *found, int64_t *others, U *keys) {  \
        static const int64_t buckets = (int64_t)1 << (BITS - 1 - SHIFT);                          \
        uint32_t *counts = found->counts;                                                         \
        for (int64_t at = 0; at < layer->count; at += PIECE) {                                    \
            int64_t n = piece_##NAME(layer, at, keys), i = 0;                                     \
            /* In tables of their own equals in a row need not wait for each other. */            \
            for (; i + TABLES <= n; i += TABLES)                                                  \
                for (int64_t t = 0; t < TABLES; t++)                                              \
                    counts[t * buckets + (keys[i + t] >> SHIFT)]++;                               \
            for (; i < n; i++) counts[keys[i] >> SHIFT]++;                                        \
        }                                                                                         \
        for (int64_t b = 0; b < buckets; b++)                                                     \
            for (int64_t t = 1; t < TABLES; t++) counts[b] += counts[t * buckets + b];            \
        int64_t left = layer->floor;                                                              \
        for (int64_t b = buckets - 1; b >= 0; b--) {                                              \
            int64_t here = counts[b], sure = here < left ? here : left;                           \
            if (sure) found->bucket = b;                                                          \
            left -= sure;                                                                         \
            others[b] += here - sure;                                                             \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    FOR_EACH_MACHINE static void hits_##NAME(                                                     \
        const U *restrict keys, U bucket, int64_t n, uint8_t *restrict hits) {                    \
        for (int64_t i = 0; i < n; i++) hits[i] = (keys[i] >> SHIFT) == bucket;                   \
    }                                                                                             \
                                                                                                  \
    /* The keys of a layer that are in a bucket: few, so that most words of hits are empty. */    \
    static int64_t gather_##NAME(const Layer *layer, U bucket, U *keys, U *found) {               \
        uint8_t hits[PIECE + WORD] = {0};                                                         \
        int64_t count = 0;                                                                        \
        for (int64_t at = 0; at < layer->count; at += PIECE) {                                    \
            int64_t n = piece_##NAME(layer, at, keys);                                            \
            hits_##NAME(keys, bucket, n, hits);                                                   \
            memset(hits + n, 0, WORD);                                                            \
            for (int64_t i = 0; i < n; i += WORD) {                                               \
                uint64_t word;                                                                    \
                memcpy(&word, hits + i, WORD);                                                    \
                if (!word) continue;                                                              \
                for (int64_t j = i; j < i + WORD; j++) {                                          \
                    found[count] = keys[j];                                                       \
                    count += hits[j];                                                             \
                }                                                                                 \
            }                                                                                     \
        }                                                                                         \
        return count;                                                                             \
    }                                                                                             \
                                                                                                  \
    /* Of keys of a bucket those that are not of the floor, in their order but for equals. */     \
    static int64_t beyond_##NAME(const Found_##NAME *found, U *keys, int64_t n) {                 \
        int64_t left = 0;                                                                         \
        for (int64_t i = 0; i < n; i++) {                                                         \
            U key = keys[i];                                                                      \
            keys[left] = key;                                                                     \
            left += key < found->lowest;                                                          \
        }                                                                                         \
        return left;                                                                              \
    }                                                                                             \
                                                                                                  \
    /* Candidates: the keys of a layer in the bucket of the limit that its floor leaves. */       \
    static int64_t candidates_##NAME(                                                             \
        const Layer *layer, Found_##NAME *found, int64_t bucket, U *keys, U *out, U *room) {      \
        int64_t n = 0;                                                                            \
        int ends_below = found->counts ? found->bucket >= 0 && found->bucket < bucket : 0;        \
        if (found->counts && found->bucket >= 0 && found->bucket <= bucket) {                     \
            int64_t floor = layer->floor;                                                         \
            const uint32_t *counts = found->counts;                                               \
            for (int64_t b = ((int64_t)1 << (BITS - 1 - SHIFT)) - 1; b > found->bucket; b--)      \
                floor -= counts[b];                                                               \
            n = gather_##NAME(layer, (U)found->bucket, keys, out);                                \
            floor_##NAME(found, out, n, floor, room);                                             \
        } else                                                                                    \
            n = gather_##NAME(layer, (U)bucket, keys, out);                                       \
        if (ends_below) return 0;                                                                 \
        n = beyond_##NAME(found, out, n);                                                         \
        if (found->lowest >> SHIFT == (U)bucket)                                                  \
            for (int64_t i = found->needed; i < found->ties; i++) out[n++] = found->lowest;       \
        return n;                                                                                 \
    }                                                                                             \
                                                                                                  \
    /* The mask of a layer: keys above a limit, and the last so many of those at it. */           \
    static void mark_##NAME(                                                                      \
        const Layer *layer, U limit, int64_t wanted, int64_t ties, U *keys) {                     \
        int all = limit && wanted == ties;                                                        \
        for (int64_t at = 0; at < layer->count; at += PIECE) {                                    \
            int64_t n = piece_##NAME(layer, at, keys);                                            \
            above_##NAME(keys, all ? limit - 1 : limit, n, layer->kept + at);                     \
        }                                                                                         \
        if (all) return;                                                                          \
        for (int64_t end = layer->count; wanted && end > 0; end -= PIECE) {                       \
            int64_t at = end < PIECE ? 0 : end - PIECE, n = end - at;                             \
            keys_##NAME(layer, at, n, keys);                                                      \
            while (wanted && n--)                                                                 \
                if (keys[n] == limit) layer->kept[at + n] = 1, wanted--;                          \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    static int select_##NAME(                                                                     \
        const Layer *layers, Found_##NAME *found, int64_t number, int64_t left, int64_t *others,  \
        U *keys) {                                                                                \
        int64_t bucket = (int64_t)1 << (BITS - 1 - SHIFT), most = SMALL, begin = 0, larger = 0;   \
        for (int64_t above = 0; left && bucket >= 0; above += others[bucket])                     \
            if (above + others[--bucket] >= left) {                                               \
                left -= above;                                                                    \
                break;                                                                            \
            }                                                                                     \
        for (int64_t k = 0; k < number; k++) {                                                    \
            const Found_##NAME *one = found + k;                                                  \
            if (!one->counts) {                                                                   \
                most += layers[k].count;                                                          \
                continue;                                                                         \
            }                                                                                     \
            if (one->bucket >= 0) most += one->counts[one->bucket];                               \
            if (left) most += one->counts[bucket];                                                \
        }                                                                                         \
        U *out = malloc((size_t)most * 2 * sizeof(U)), *room = out + most, limit = (U)-1;         \
        if (!out) return 0;                                                                       \
        for (int64_t k = 0; k < number; k++) {                                                    \
            found[k].begin = begin;                                                               \
            begin += candidates_##NAME(layers + k, found + k, bucket, keys, out + begin, room);   \
            found[k].end = begin;                                                                 \
        }                                                                                         \
        if (left) {                                                                               \
            memcpy(room, out, (size_t)begin * sizeof(U));                                         \
            limit = largest_##NAME(room, begin, left);                                            \
            for (int64_t i = 0; i < begin; i++) larger += out[i] > limit;                         \
            left -= larger;                                                                       \
        }                                                                                         \
        for (int64_t k = number - 1; k >= 0; k--) {                                               \
            const Found_##NAME *one = found + k;                                                  \
            int64_t ties = 0, wanted = 0;                                                         \
            for (int64_t i = one->begin; i < one->end; i++) ties += out[i] == limit;              \
            wanted = ties < left ? ties : left;                                                   \
            left -= wanted;                                                                       \
            if (one->lowest < limit)                                                              \
                mark_##NAME(layers + k, one->lowest, one->needed, one->ties, keys);               \
            else if (one->lowest == limit && one->ties)                                           \
                mark_##NAME(layers + k, limit, wanted + one->needed, one->ties, keys);            \
            else                                                                                  \
                mark_##NAME(layers + k, limit, wanted, ties, keys);                               \
        }                                                                                         \
        free(out);                                                                                \
        return 1;                                                                                 \
    }                                                                                             \
                                                                                                  \
    /* Write the masks of so many units of all layers; 0 where there is no memory for it. */      \
    PUBLIC int l1prune_select_##NAME(const Layer *layers, int64_t number, int64_t room) {         \
        int64_t buckets = (int64_t)1 << (BITS - 1 - SHIFT), large = 0;                            \
        for (int64_t k = 0; k < number; k++) {                                                    \
            large += layers[k].count > SMALL;                                                     \
            room -= layers[k].floor;                                                              \
        }                                                                                         \
        Found_##NAME *found = calloc((size_t)number + 1, sizeof *found);                          \
        uint32_t *counts = calloc((size_t)(TABLES * large * buckets) + 1, sizeof *counts);        \
        int64_t *others = calloc((size_t)buckets + 1, sizeof *others);                            \
        U *keys = malloc(2 * SMALL * sizeof *keys);                                               \
        int done = found && counts && others && keys;                                             \
        for (int64_t k = 0, at = 0; done && k < number; k++) {                                    \
            found[k].lowest = (U)-1;                                                              \
            found[k].bucket = -1;                                                                 \
            if (layers[k].count > SMALL) {                                                        \
                found[k].counts = counts + at++ * TABLES * buckets;                               \
                look_##NAME(layers + k, found + k, others, keys);                                 \
            } else                                                                                \
                look_small_##NAME(layers + k, found + k, others, keys, keys + SMALL);             \
        }                                                                                         \
        done = done && select_##NAME(layers, found, number, room, others, keys);                  \
        free(found);                                                                              \
        free(counts);                                                                             \
        free(others);                                                                             \
        free(keys);                                                                               \
        return done;                                                                              \
    }

DEFINE(float, int32_t, uint32_t, float, 32, 20, 0x7F800001u)
DEFINE(double, int64_t, uint64_t, double, 64, 49, 0x7FF0000000000001u)
