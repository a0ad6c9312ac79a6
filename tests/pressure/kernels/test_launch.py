"""Triton's part: importable where there is no Triton; test_fused runs it where there is a GPU."""

from l1prune.pressure.kernels import launch


def test_it_is_a_kernel_where_there_is_triton_and_a_function_elsewhere() -> None:
    assert hasattr(launch.press, "run") == launch.THERE
