"""Kernels: one pass over memory for what a step does to weights, whatever the device.

After an optimizer's step each weight is soft-thresholded, and what was removed is held at zero.
Written in eager torch that is ten passes over memory and as many calls for each weight. Here it is
one pass, for all weights of a step together: in C on a CPU that has a compiler, fused on a GPU. All
kernels do the same operations in the same order; eager torch is always there, and the reference.
"""
