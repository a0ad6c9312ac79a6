"""Deploy: networks made smaller, stored, and run elsewhere. Needs no Lightning."""

from l1prune.deploy.columns import InputSelection as InputSelection
from l1prune.deploy.columns import select_inputs as select_inputs
from l1prune.deploy.compact import Compaction as Compaction
from l1prune.deploy.compact import compact as compact
from l1prune.deploy.encodings import Exact as Exact
from l1prune.deploy.encodings import Half as Half
from l1prune.deploy.encodings import PlainZeros as PlainZeros
from l1prune.deploy.encodings import RowInt8 as RowInt8
from l1prune.deploy.execution import SparseExecution as SparseExecution
from l1prune.deploy.execution import sparse as sparse
from l1prune.deploy.export import export_onnx as export_onnx
from l1prune.deploy.export import export_program as export_program
from l1prune.deploy.kernels import Bag as Bag
from l1prune.deploy.kernels import Csr as Csr
from l1prune.deploy.kernels import Kernel as Kernel
from l1prune.deploy.kernels import SemiStructured24 as SemiStructured24
from l1prune.deploy.kernels import ShiftedBag as ShiftedBag
from l1prune.deploy.loading import load_compact as load_compact
from l1prune.deploy.macs import macs as macs
from l1prune.deploy.storage import load_sparse as load_sparse
from l1prune.deploy.storage import save_sparse as save_sparse
