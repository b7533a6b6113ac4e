"""Run a compiled function in several threads.

Threads are made anew at every call and joined before it returns. That costs some 20 us each, which a kernel of a
millisecond does not notice, and leaves nothing behind: any number of chains may call at once, a process may fork
between calls, and no thread spins while it waits. Numba's `prange` promises none of these: one of its layers aborts
when two threads call at once, and that of OpenMP ends a process that was forked after its first use.
"""

from __future__ import annotations

import os
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_WORD, _CODE, _ADDRESS = ir.IntType(64), ir.IntType(32), ir.IntType(8).as_pointer()
_TASK = ir.LiteralStructType([_WORD, _ADDRESS, _WORD, _CODE])
_WORKER, _GIVEN, _THREAD, _REFUSED = range(4)  # its fields; refused is not 0 where no thread could be started


@intrinsic
def in_threads(typingctx: Any, function: Any, n_workers: Any, given: Any) -> tuple:
    """Call ``function(worker, *given)`` for every worker, all but the first in threads of their own.

    The function returns nothing, and can fail only for want of memory. What no thread can be had for is done by
    the caller.
    """
    inner = typingctx.resolve_function_type(function, (types.int64, *given), {})

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = args[2]
        n = context.cast(builder, args[1], n_workers, types.int64)
        entry = _entry(context, builder.module, function.dispatcher.get_compile_result(inner), values.type)
        shared = builder.bitcast(cgutils.alloca_once_value(builder, values), _ADDRESS)
        tasks = builder.alloca(_TASK, size=n)
        failed = cgutils.alloca_once_value(builder, _WORD(0))

        def field(task: Any, which: int) -> Any:
            return builder.gep(task, [_CODE(0), _CODE(which)])

        def note(result: Any) -> None:
            builder.store(builder.or_(builder.load(failed), builder.ptrtoint(result, _WORD)), failed)

        def work(task: Any) -> Any:
            return builder.call(entry, [builder.bitcast(task, _ADDRESS)])

        with cgutils.for_range(builder, n) as loop:
            task = builder.gep(tasks, [loop.index])
            builder.store(loop.index, field(task, _WORKER))
            builder.store(shared, field(task, _GIVEN))
            builder.store(_CODE(1), field(task, _REFUSED))
        if os.name == "posix":
            create, join = _posix(builder.module)
            with cgutils.for_range(builder, n, start=_WORD(1)) as loop:
                task = builder.gep(tasks, [loop.index])
                arguments = [field(task, _THREAD), _ADDRESS(None), entry, builder.bitcast(task, _ADDRESS)]
                builder.store(builder.call(create, arguments), field(task, _REFUSED))
        with cgutils.for_range(builder, n) as loop:
            task = builder.gep(tasks, [loop.index])
            here = builder.icmp_unsigned("!=", builder.load(field(task, _REFUSED)), _CODE(0))
            with builder.if_then(here):
                note(work(task))
        if os.name == "posix":
            result = cgutils.alloca_once(builder, _ADDRESS)
            with cgutils.for_range(builder, n, start=_WORD(1)) as loop:
                task = builder.gep(tasks, [loop.index])
                started = builder.icmp_unsigned("==", builder.load(field(task, _REFUSED)), _CODE(0))
                with builder.if_then(started):
                    builder.call(join, [builder.load(field(task, _THREAD)), result])
                    note(builder.load(result))
        with cgutils.if_unlikely(builder, builder.icmp_unsigned("!=", builder.load(failed), _WORD(0))):
            context.call_conv.return_user_exc(builder, MemoryError, ("no memory for the kernel",))
        return context.get_dummy_value()

    return types.none(function, n_workers, given), codegen


@njit
def added_up(rows):
    """Sum of the rows of an array, which is written into the first of them."""
    for k in range(1, rows.shape[0]):
        for i in range(rows.shape[1]):
            rows[0, i] += rows[k, i]
    return rows[0]


def _entry(context: Any, module: Any, compiled: Any, given: Any) -> Any:
    """Write what a thread begins with: a C function from the address of its task to whether the work failed."""
    entry = ir.Function(module, ir.FunctionType(_ADDRESS, [_ADDRESS]), module.get_unique_name("worker"))
    entry.linkage = "internal"
    builder = ir.IRBuilder(entry.append_basic_block())
    task = builder.load(builder.bitcast(entry.args[0], _TASK.as_pointer()))
    shared = builder.load(builder.bitcast(builder.extract_value(task, _GIVEN), given.as_pointer()))
    arguments = [builder.extract_value(task, _WORKER), *cgutils.unpack_tuple(builder, shared)]
    context.add_linking_libs([compiled.library])
    description = compiled.fndesc
    function = context.declare_function(module, description)
    status, _ = context.call_conv.call_function(builder, function, description.restype, description.argtypes, arguments)
    builder.ret(builder.inttoptr(builder.zext(status.is_error, _WORD), _ADDRESS))
    return entry


def _posix(module: Any) -> tuple[Any, Any]:
    """Declare how threads are created and joined; both return 0 where that works."""
    start = ir.FunctionType(_ADDRESS, [_ADDRESS]).as_pointer()
    create = ir.FunctionType(_CODE, [_WORD.as_pointer(), _ADDRESS, start, _ADDRESS])
    join = ir.FunctionType(_CODE, [_WORD, _ADDRESS.as_pointer()])
    return (
        cgutils.get_or_insert_function(module, create, "pthread_create"),
        cgutils.get_or_insert_function(module, join, "pthread_join"),
    )
