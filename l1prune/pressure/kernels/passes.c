/* One pass over many weights: w <- S(w, t) where the mask stays, +0.0 elsewhere.
 *
 * S is soft thresholding, by one t or by t_i = min(amount / (sqrt(second_i) * factor + eps), most).
 * The operations are those of l1prune.pressure.kernels.eager, in their order, each rounded by
 * itself: so are the bits, but for the sign of zero, and for roots of doubles, which torch does not
 * round. What is removed becomes zero by an AND of bits, whatever it was.
 */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#define MOST_THREADS 64
#else
#define MOST_THREADS 1
#endif

#include "library.h"

#define PIECE 65536 /* weights that a thread takes at once */

enum { FLOAT32, FLOAT64, BFLOAT16, FLOAT16 };

/* What l1prune.pressure.kernels.native writes, eight bytes each. */
typedef struct {
    void *w;
    const void *second;  /* NULL: one t for all */
    const uint8_t *mask; /* NULL: all stay */
    const float *chance; /* in [0, 1): whether a half is rounded to its further neighbour */
    int64_t count;
    int64_t kind;
} Place;

typedef struct {
    double amount; /* 0: only the mask is held */
    double factor;
    double eps;
    double most; /* of any t_i */
} Numbers;

#define DEFINE(T, I, NAME, SQRT, MOST)                                                            \
    static inline T soft_##NAME(T w, T t) {                                                       \
        return w > t ? w - t : (w < -t ? w + t : w * (T)0 + (T)0);                                \
    }                                                                                             \
    static inline T shrunk_##NAME(T w, T t) {                                                     \
        T c = w < -t ? -t : w;                                                                    \
        c = c > t ? t : c;                                                                        \
        return w - (t == t ? c : t);                                                              \
    }                                                                                             \
    static inline T kept_##NAME(T w, uint8_t stays) {                                             \
        I bits;                                                                                   \
        memcpy(&bits, &w, sizeof bits);                                                           \
        bits &= -(I)(stays != 0);                                                                 \
        memcpy(&w, &bits, sizeof bits);                                                           \
        return w;                                                                                 \
    }                                                                                             \
    FOR_EACH_MACHINE static void plain_##NAME(T *restrict w, T t, int64_t n) {                    \
        for (int64_t i = 0; i < n; i++) w[i] = soft_##NAME(w[i], t);                              \
    }                                                                                             \
    FOR_EACH_MACHINE static void plain_masked_##NAME(                                             \
        T *restrict w, const uint8_t *restrict mask, T t, int64_t n) {                            \
        for (int64_t i = 0; i < n; i++) w[i] = kept_##NAME(soft_##NAME(w[i], t), mask[i]);        \
    }                                                                                             \
    FOR_EACH_MACHINE static void rooted_##NAME(                                                   \
        T *restrict w, const T *restrict second, T amount, T factor, T eps, T most, int64_t n) {  \
        for (int64_t i = 0; i < n; i++) {                                                         \
            T t = (T)1 / (SQRT(second[i]) * factor + eps) * amount;                               \
            t = t > most ? most : t;                                                              \
            w[i] = shrunk_##NAME(w[i], t);                                                        \
        }                                                                                         \
    }                                                                                             \
    FOR_EACH_MACHINE static void rooted_masked_##NAME(                                            \
        T *restrict w, const T *restrict second, const uint8_t *restrict mask, T amount,          \
        T factor, T eps, T most, int64_t n) {                                                     \
        for (int64_t i = 0; i < n; i++) {                                                         \
            T t = (T)1 / (SQRT(second[i]) * factor + eps) * amount;                               \
            t = t > most ? most : t;                                                              \
            w[i] = kept_##NAME(shrunk_##NAME(w[i], t), mask[i]);                                  \
        }                                                                                         \
    }                                                                                             \
    static void press_##NAME(const Place *p, const Numbers *by, int64_t at, int64_t n) {          \
        T *w = (T *)p->w + at;                                                                    \
        T amount = (T)by->amount, factor = (T)by->factor, eps = (T)by->eps, most = (T)by->most;   \
        T t = by->amount > MOST ? MOST : amount; /* which exceeds every finite weight already */  \
        const uint8_t *mask = p->mask ? p->mask + at : NULL;                                      \
        if (p->second) {                                                                          \
            const T *second = (const T *)p->second + at;                                          \
            if (mask) rooted_masked_##NAME(w, second, mask, amount, factor, eps, most, n);        \
            else rooted_##NAME(w, second, amount, factor, eps, most, n);                          \
        } else if (mask) plain_masked_##NAME(w, mask, t, n);                                      \
        else plain_##NAME(w, t, n);                                                               \
    }

DEFINE(float, uint32_t, float, sqrtf, FLT_MAX)
DEFINE(double, uint64_t, double, sqrt, DBL_MAX)

/* ---- holding alone */

#define DEFINE_HOLD(I)                                                                            \
    FOR_EACH_MACHINE static void hold_##I(                                                        \
        I *restrict bits, const uint8_t *restrict mask, int64_t n) {                              \
        for (int64_t i = 0; i < n; i++) bits[i] &= (I) - (I)(mask[i] != 0);                       \
    }

DEFINE_HOLD(uint16_t)
DEFINE_HOLD(uint32_t)
DEFINE_HOLD(uint64_t)

static void hold(const Place *p, int64_t at, int64_t n) {
    const uint8_t *mask = p->mask + at;
    if (p->kind == FLOAT32) hold_uint32_t((uint32_t *)p->w + at, mask, n);
    else if (p->kind == FLOAT64) hold_uint64_t((uint64_t *)p->w + at, mask, n);
    else hold_uint16_t((uint16_t *)p->w + at, mask, n);
}

/* ---- bfloat16: computed in float, rounded to one of both neighbours by chance */

static inline float wide(uint16_t half) {
    uint32_t bits = (uint32_t)half << 16;
    float w;
    memcpy(&w, &bits, sizeof w);
    return w;
}

static inline uint16_t narrow(float w) {
    uint32_t bits;
    memcpy(&bits, &w, sizeof bits);
    uint32_t nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    return (uint16_t)(w == w ? nearest : 0x7FC0);
}

static inline float rounded(float w) { return wide(narrow(w)); }

static inline uint16_t narrow_by_chance(float exact, float chance) {
    uint16_t near = narrow(exact);
    float size = fabsf(wide(near)), error = fabsf(exact) - size;
    uint16_t other = (uint16_t)(near + (error > 0) - (error < 0));
    float gap = fabsf(fabsf(wide(other)) - size);
    return chance * gap < fabsf(error) ? other : near;
}

FOR_EACH_MACHINE static void press_bfloat16(
    const Place *p, const Numbers *by, int64_t at, int64_t n) {
    uint16_t *restrict w = (uint16_t *)p->w + at;
    const uint16_t *restrict second = p->second ? (const uint16_t *)p->second + at : NULL;
    const uint8_t *restrict mask = p->mask ? p->mask + at : NULL;
    const float *restrict chance = p->chance + at;
    float amount = (float)by->amount, factor = (float)by->factor, eps = (float)by->eps;
    float whole = by->amount > FLT_MAX ? FLT_MAX : amount, most = rounded((float)by->most);
    for (int64_t i = 0; i < n; i++) {
        float exact;
        if (second) {
            float root = rounded(rounded(sqrtf(wide(second[i]))) * factor);
            float t = rounded(rounded(1.0f / rounded(root + eps)) * amount);
            t = t > most ? most : t;
            exact = shrunk_float(wide(w[i]), t);
        } else {
            exact = soft_float(wide(w[i]), whole);
        }
        uint16_t result = narrow_by_chance(exact, chance[i]);
        w[i] = mask && !mask[i] ? 0 : result;
    }
}

/* ---- all of a step */

static void press(const Place *p, const Numbers *by, int64_t at, int64_t n) {
    if (by->amount == 0) {
        if (p->mask) hold(p, at, n);
    } else if (p->kind == FLOAT32) press_float(p, by, at, n);
    else if (p->kind == FLOAT64) press_double(p, by, at, n);
    else if (p->kind == BFLOAT16) press_bfloat16(p, by, at, n);
}

typedef struct {
    const Place *places;
    const Numbers *numbers;
    int64_t passes;
    int64_t thread, threads;
} Share;

/* Every so-many-th piece of all weights, end to end: what takes longest is spread evenly. */
static void *walk(void *given) {
    const Share *share = given;
    int64_t piece = 0;
    for (int64_t i = 0; i < share->passes; i++) {
        const Place *p = share->places + i;
        if (share->threads == 1) {
            press(p, share->numbers + i, 0, p->count);
            continue;
        }
        for (int64_t at = 0; at < p->count; at += PIECE, piece++) {
            if (piece % share->threads != share->thread) continue;
            press(p, share->numbers + i, at, p->count - at < PIECE ? p->count - at : PIECE);
        }
    }
    return NULL;
}

PUBLIC void l1prune_passes(
    const Place *places, const Numbers *numbers, int64_t passes, int64_t threads) {
    Share shares[MOST_THREADS];
    threads = threads < 1 ? 1 : threads > MOST_THREADS ? MOST_THREADS : threads;
    for (int64_t k = 0; k < threads; k++)
        shares[k] = (Share){places, numbers, passes, k, threads};
#if MOST_THREADS > 1
    pthread_t others[MOST_THREADS];
    int64_t begun = 1;
    while (begun < threads && !pthread_create(&others[begun], NULL, walk, &shares[begun])) begun++;
    walk(&shares[0]);
    for (int64_t k = begun; k < threads; k++) walk(&shares[k]); /* no thread to be had */
    for (int64_t k = 1; k < begun; k++) pthread_join(others[k], NULL);
#else
    walk(&shares[0]);
#endif
}
