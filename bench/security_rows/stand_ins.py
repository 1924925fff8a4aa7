"""Files of the kinds that the tests of picklescan, modelscan and fickling hold, for runs without their repositories.

Their source distributions have no test data. The names of functions are those that their advisories and tests list.
"""

from __future__ import annotations

import io
import json
import pickle

import numpy as np

from security_rows.hostile import text, zipped
from security_rows.techniques import files_of_keras, torch_members

PICKLESCAN = """
_aix_support._read_cmd_output _io.FileIO _operator.attrgetter _operator.methodcaller _osx_support._read_output
_pickle.loads _pyrepl.pager.pipe_pager asyncio.unix_events._UnixSubprocessTransport._start bdb.Bdb.run builtins.eval
builtins.exec builtins.__import__ builtins.getattr cProfile.run cProfile.runctx cloudpickle.cloudpickle._make_function
code.InteractiveInterpreter.runcode ctypes.CDLL distutils.file_util.write_file doctest.debug_script ensurepip._run_pip
functools.partial idlelib.autocomplete.AutoComplete.get_entity idlelib.calltip.Calltip.fetch_tip
idlelib.debugobj.ObjectTreeItem.SetText idlelib.pyshell.ModifiedInterpreter.runcode idlelib.run.Executive.runcode
imaplib.IMAP4_stream lib2to3.pgen2.grammar.Grammar.loads lib2to3.pgen2.pgen.ParserGenerator.make_label
logging.FileHandler numpy.f2py.crackfortran.getlincoef numpy.testing._private.utils.runstring operator.attrgetter
operator.methodcaller os.system pip.main pkgutil.resolve_name posix.system profile.Profile.run profile.run pty.spawn
pydoc.locate pydoc.pipepager runpy._run_code socket.create_connection subprocess.run sys.exit
test.support.script_helper.assert_python_ok torch._dynamo.guards.GuardBuilder.get
torch._inductor.codecache.compile_file torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression
torch.jit.unsupported_tensor_ops.execWrapper torch.serialization.load
torch.utils._config_module.ConfigModule.load_config torch.utils.bottleneck.__main__.run_cprofile
torch.utils.collect_env.run torch.utils.data.datapipes.utils.decoder.basichandlers trace.Trace.run types.CodeType
urllib.request.urlopen uuid._get_command_stdout venv.create
"""
MODELSCAN = """
builtins.eval builtins.exec os.system runpy._run_code subprocess.run sys.exit socket.create_connection webbrowser.open
"""
FICKLING = """
pty.spawn marshal.loads types.FunctionType cProfile.run code.interact ctypes.pythonapi builtins.__import__
importlib.import_module pickle.loads operator.methodcaller os.popen multiprocessing.util.spawnv_passfds
pydoc.pipepager smtplib.SMTP sqlite3.connect shelve.open dill.loads numpy.load torch.load unittest.mock._importer
venv.main builtins.getattr gc.get_objects io.open
"""


def _call(shown: str, protocol: int) -> bytes:
    """Return a pickle of this protocol that calls a function, named with its module."""
    module, _, name = shown.rpartition(".")
    while module.rpartition(".")[2][:1].isupper():  # a method: the class belongs to the name
        module, _, kind = module.rpartition(".")
        name = f"{kind}.{name}"
    if protocol < 4:
        return (b"" if protocol < 2 else bytes([0x80, protocol])) + f"c{module}\n{name}\n(Vtrue\ntR.".encode()
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text("true") + b"\x85R."


def hostile_files(corpus: str) -> dict[str, bytes]:
    """Return hostile files of the kinds of one corpus."""
    if corpus == "picklescan":
        return {f"{name}.pkl": _call(name, (0, 2, 4)[number % 3]) for number, name in enumerate(PICKLESCAN.split())}
    if corpus == "fickling":
        return {f"{name}-{protocol}.pkl": _call(name, protocol) for name in FICKLING.split() for protocol in (2, 4)}
    found = {f"{name}-{protocol}.pkl": _call(name, protocol) for name in MODELSCAN.split() for protocol in (0, 3, 4)}
    call = _call("os.system", 4)
    array = (
        b"\x93NUMPY\x01\x00" + b"\x46\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}".ljust(69) + b"\n"
    )
    return (
        found
        | files_of_keras()
        | {
            "second.pkl": pickle.dumps(["a"]) + call,
            "zipped.zip": zipped({"data.pkl": call}),
            "torch.pt": zipped(torch_members(call), 0),
            "array.npy": array + call,
            "loads.pkl": b"\x80\x05cpickle\nloads\nC" + bytes([len(call)]) + call + b"\x85R0N.",
            "method.pkl": b"\x80\x05cbuiltins\neval.__call__\nVNone\n\x85R.",
        }
    )


def benign_files(corpus: str) -> dict[str, bytes]:
    """Return benign files of the kinds of one corpus."""
    values = {"texts": ["a", "b", "c"], "numbers": {"a": 1.5, "b": (1, None)}}
    found = {f"{name}-{n}.pkl": pickle.dumps(value, n) for name, value in values.items() for n in (0, 2, 3, 4)}
    if corpus != "fickling":
        for name, array in (("int", np.arange(4)), ("object", np.array(["a", None], dtype=object))):
            buffer = io.BytesIO()
            np.save(buffer, array)
            found[f"{name}.npy"] = buffer.getvalue()
        found["torch.pt"] = zipped(torch_members(b"\x80\x02}."), 0)
        found["config.json"] = json.dumps({"architectures": ["x"], "hidden_size": 4}).encode()
    return found
