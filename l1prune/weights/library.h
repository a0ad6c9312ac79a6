/* What all files of C begin with: how a function is compiled for several generations of a processor,
 * and how it is seen from outside.
 */
#ifndef L1PRUNE_LIBRARY_H
#define L1PRUNE_LIBRARY_H

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

#endif
