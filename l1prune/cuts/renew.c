/* What saliency makes of a layer, one pass over memory for each of four steps: the mean of squared
 * gradients as it is now, and its root; sums over a layer; what its weights are worth; and the sum
 * of squares as it is now, where those were.
 *
 * The operations are those of l1prune.cuts.renewal, in their order, each rounded by itself: so are
 * the bits. A sum is one of doubles, which torch adds up in another order.
 */
#include <math.h>
#include <stdint.h>

#include "library.h"

#define LANES 16 /* sums that need not wait for each other */
#define PIECE 1024 /* roots that are shrunk together */

/* Roots take the place of totals, until these are restored. */
FOR_EACH_MACHINE static void renew(
    const float *restrict average, float *restrict total, float *restrict mean, int64_t n,
    float whole, float most, float memory, float share, float kept, float eps) {
    for (int64_t i = 0; i < n; i++) {
        float now = average[i] / whole, lost = total[i] * memory;
        now = now > most ? most : now; /* what is NaN stays so */
        float since = now - lost;
        since = since < 0 ? 0 : since;
        float part = since * share, rest = mean[i] * kept;
        mean[i] = part + rest;
        total[i] = sqrtf(mean[i]) + eps;
    }
}

FOR_EACH_MACHINE static void restore(
    const float *restrict average, float *restrict total, int64_t n, float whole, float most) {
    for (int64_t i = 0; i < n; i++) {
        float now = average[i] / whole;
        total[i] = now > most ? most : now;
    }
}

FOR_EACH_MACHINE static void shrink(
    const float *restrict root, float *restrict shrunk, int64_t n, int half) {
    for (int64_t i = 0; i < n; i++) shrunk[i] = half ? sqrtf(root[i]) : root[i];
}

/* What is left of a layer. */
FOR_EACH_MACHINE static void leave(
    const float *restrict values, const float *restrict w, float *restrict left, int64_t n) {
    for (int64_t i = 0; i < n; i++) left[i] = w[i] != 0 ? values[i] : 0;
}

FOR_EACH_MACHINE static double squares(const float *values, int64_t n) {
    double lanes[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) lanes[k] += (double)values[i + k] * (double)values[i + k];
    for (int k = 0; k < LANES; k++) sum += lanes[k];
    for (; i < n; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

FOR_EACH_MACHINE static void weigh(
    float *restrict root, const float *restrict shrunk, const float *restrict w, int64_t n,
    float factor) {
    for (int64_t i = 0; i < n; i++) root[i] = shrunk[i] * w[i] * factor;
}

PUBLIC void l1prune_renew(
    const float *average, float *total, float *mean, int64_t count, double whole, double most,
    double memory, double share, double kept, double eps) {
    renew(
        average, total, mean, count, (float)whole, (float)most, (float)memory, (float)share,
        (float)kept, (float)eps);
}

PUBLIC void l1prune_restore(
    const float *average, float *total, int64_t count, double whole, double most) {
    restore(average, total, count, (float)whole, (float)most);
}

/* Σ of squares: of roots, of means, of the roots of what is left, and of these shrunk. */
PUBLIC void l1prune_sums(
    const float *root, const float *mean, const float *w, int64_t count, int half, double *sums) {
    float shrunk[PIECE], left[PIECE];
    for (int one = 0; one < 4; one++) sums[one] = 0;
    for (int64_t at = 0; at < count; at += PIECE) {
        int64_t n = count - at < PIECE ? count - at : PIECE;
        shrink(root + at, shrunk, n, half);
        sums[0] += squares(root + at, n);
        sums[1] += squares(mean + at, n);
        leave(root + at, w + at, left, n);
        sums[2] += squares(left, n);
        leave(shrunk, w + at, left, n);
        sums[3] += squares(left, n);
    }
}

/* Roots become what weights are worth. */
PUBLIC void l1prune_weigh(float *root, const float *w, int64_t count, int half, double factor) {
    float shrunk[PIECE];
    for (int64_t at = 0; at < count; at += PIECE) {
        int64_t n = count - at < PIECE ? count - at : PIECE;
        shrink(root + at, shrunk, n, half);
        weigh(root + at, shrunk, w + at, n, (float)factor);
    }
}
