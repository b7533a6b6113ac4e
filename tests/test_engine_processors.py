"""The kernel on other processors: vectorised for each of them, the same numbers on lesser ones of this kind."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Rows are compiled unoptimised here, and optimised for each target: what this processor can do must not show.
ROWS = """
import llvmlite.binding as llvm, numba, numpy as np, sys
from numba import types
import fitrl
from fitrl.engine import vector_math
from fitrl.engine.op import _NoAlias

llvm.initialize_all_targets()
llvm.initialize_all_asmprinters()
rows = fitrl.engine.source("q_learning").split("def log_likelihood")[0]
scope, made = {"np": np, "inf": np.inf, "nan": np.nan}, {}
scope |= {name: getattr(vector_math, name) for name in vector_math.FUNCTIONS}
exec(rows, scope, made)
kinds = {"width": types.int64, "choice_row": types.int64[::1], "reset_row": types.boolean[::1]}
kinds["mask_update_row"] = types.boolean[::1]
for name, function in made.items():
    given = function.__code__.co_varnames[: function.__code__.co_argcount]
    signature = types.void(*[kinds.get(argument, types.float64[::1]) for argument in given])
    row = numba.njit(signature, pipeline_class=_NoAlias, fastmath=vector_math.FASTMATH, error_model="numpy")(function)
    compiled = row.overloads[signature.args]
    for target in sys.argv[1:]:
        triple, cpu = target.split("/")
        machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3, codemodel="small")
        module = llvm.parse_assembly(compiled.library.get_llvm_str())
        module.triple, module.data_layout = triple, str(machine.target_data)
        options = llvm.create_pipeline_tuning_options(speed_level=3)
        options.loop_vectorization = True
        builder = llvm.create_pass_builder(machine, options)
        builder.getModulePassManager().run(module, builder)
        text = machine.emit_assembly(module)
        entry = compiled.fndesc.llvm_func_name
        print(f"@@ {name} {target}")
        print(text.partition(f"\\n{entry}:")[2].partition(f".size\\t{entry}")[0])
"""
TARGETS = {
    "aarch64-unknown-linux-gnu/generic": (r"\bfmul\s+v\d+\.2d", r"\bbl\s+(\S+)"),
    "x86_64-unknown-linux-gnu/x86-64": (r"\bmulpd\s.*%xmm", r"\bcallq?\s+(\S+)"),
    "x86_64-unknown-linux-gnu/haswell": (r"\bvmulpd\s.*%ymm", r"\bcallq?\s+(\S+)"),
    "x86_64-unknown-linux-gnu/znver4": (r"\bvmulpd\s.*%zmm", r"\bcallq?\s+(\S+)"),
}
NUMBERS = """
import sys
sys.path.insert(0, "tests")
import numpy as np
from fast_engine import Compiled, bandit, random_rows, random_values, sizes
from fitrl.engine.trace import trace
from fitrl.models import find

rng = np.random.default_rng(1)
task, model = bandit(3), find("q_learning")
rows = random_rows(task, (40, 7, 33, 40, 21, 2, 40, 38, 11), rng)
values = random_values(model, task, sizes(trace(model, task), rows, {}), rng)
scores, slopes = Compiled(model, task, rows)(values)
np.savez(sys.argv[1], **scores, **slopes)
"""


def run(script, *arguments, **environment):
    """Run a script in a process of its own, beside the package."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    place = Path(__file__).parents[1]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, cwd=place, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rows_are_vectorised_for_every_processor():
    """No C compiler and no machine of that kind is needed: LLVM writes the assembly of each."""
    found = run(ROWS, *TARGETS, NUMBA_OPT="0").split("@@ ")[1:]
    assert len(found) == 2 * len(TARGETS)
    for part in found:
        name, target = part.partition("\n")[0].split()
        vectors, call = TARGETS[target]
        assert re.search(vectors, part), (name, target)
        # Exponentials are in the loop, not in a library. What unoptimised code calls counts references to arrays.
        called = {symbol.removesuffix("@PLT") for symbol in re.findall(call, part)}
        assert called <= {"NRT_incref", "NRT_decref"}, (name, target)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="processors of another kind")
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_a_lesser_processor_finds_the_same_numbers(processor, tmp_path):
    """Neither AVX-512 nor, with the first, AVX or fused multiplication."""
    flags = {"PYTENSOR_FLAGS": f"base_compiledir={tmp_path / 'cache'}"}
    run(NUMBERS, tmp_path / "here.npz", **flags)
    run(NUMBERS, tmp_path / "there.npz", NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES="", **flags)
    here, there = (np.load(tmp_path / f"{name}.npz") for name in ("here", "there"))
    assert set(here) == {"choice", "alpha", "beta"}
    for name in here:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-12, atol=1e-14)
