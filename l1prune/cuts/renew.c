/* The mean of squared gradients as it is now, and its root; and a sum of squares.
 *
 * The operations are those of l1prune.cuts.fisher.renewed, in their order, each rounded by itself:
 * so are the bits. A sum is one of doubles, which torch adds up in another order.
 */
#include <math.h>
#include <stdint.h>

#if defined(CLONES) && defined(__x86_64__) && defined(__GLIBC__) && defined(__has_attribute)
#if __has_attribute(target_clones)
#define FOR_EACH_MACHINE __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#endif
#endif
#ifndef FOR_EACH_MACHINE
#define FOR_EACH_MACHINE
#endif

#if defined(_WIN32)
#define PUBLIC __declspec(dllexport)
#else
#define PUBLIC
#endif

#define LANES 16 /* sums that need not wait for each other */

FOR_EACH_MACHINE static void renew(
    const float *restrict total, const float *restrict before, const float *restrict old,
    float *restrict mean, float *restrict root, int64_t n, float memory, float share, float kept,
    float eps) {
    for (int64_t i = 0; i < n; i++) {
        float lost = before[i] * memory;
        float since = total[i] - lost;
        since = since < 0 ? 0 : since; /* what is NaN stays so */
        float part = since * share, rest = old[i] * kept;
        mean[i] = part + rest;
        root[i] = sqrtf(mean[i]) + eps;
    }
}

FOR_EACH_MACHINE static double squared(const float *restrict values, int64_t n) {
    double sums[LANES] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) sums[k] += (double)values[i + k] * (double)values[i + k];
    for (int k = 0; k < LANES; k++) sum += sums[k];
    for (; i < n; i++) sum += (double)values[i] * (double)values[i];
    return sum;
}

PUBLIC void l1prune_renew(
    const float *total, const float *before, const float *old, float *mean, float *root,
    int64_t count, double memory, double share, double kept, double eps) {
    renew(
        total, before, old, mean, root, count, (float)memory, (float)share, (float)kept,
        (float)eps);
}

PUBLIC double l1prune_squared(const float *values, int64_t count) {
    return squared(values, count);
}
