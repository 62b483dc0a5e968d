"""Ways in which a function can depend on code and data: a table of small modules, each in two versions.

In each text ``VALUE`` stands for 1 in the first version and for 2 in the second; `f` is ``def f(x): return`` the
result. Where there is an `other`, it is a second module of the user's, ``other``, that holds the ``VALUE``.
"""

from typing import NamedTuple


class Way(NamedTuple):
    name: str
    text: str
    result: str
    other: str | None = None

    def __str__(self):
        return self.name


WAYS = [
    Way("const", "C = VALUE", "C + x"),
    Way("tuple", "C = (1, (2, VALUE))", "C"),
    Way("list", "C = [1, [2, VALUE]]", "C"),
    Way("dict", "C = {'a': {'b': VALUE}}", "C"),
    Way("set", "C = {1, VALUE, 9}", "sorted(C)"),
    Way("array", ("import numpy as np\nC = np.array([1, VALUE])"), "C.tolist()"),
    Way("enum", ("import enum\nclass E(enum.Enum):\n    A = VALUE"), "E.A.value"),
    Way("intflag", ("import enum\nclass E(enum.IntFlag):\n    A = 1\n    B = VALUE+2"), "int(E.A | E.B)"),
    Way(
        "namedtuple",
        ("from collections import namedtuple\nP = namedtuple('P', 'a b', defaults=(VALUE,))"),
        "P(1).b",
    ),
    Way(
        "typednt",
        ("from typing import NamedTuple\nclass P(NamedTuple):\n    a: int\n    b: int = VALUE"),
        "P(1).b",
    ),
    Way(
        "dataclass",
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    a: int\n    b: int = VALUE"),
        "P(1).b",
    ),
    Way(
        "dc_factory",
        (
            "from dataclasses import dataclass, field\n"
            "@dataclass\n"
            "class P:\n"
            "    b: list = field(default_factory=lambda: [VALUE])"
        ),
        "P().b",
    ),
    Way("instance", ("class K:\n    def __init__(s, v): s.v = v\nC = K(VALUE)"), "C.v"),
    Way("instance_method", ("class K:\n    def m(s, x): return x + VALUE\nC = K()"), "C.m(x)"),
    Way(
        "instance_slots",
        ("class K:\n    __slots__ = ('v',)\n    def __init__(s, v): s.v = v\nC = K(VALUE)"),
        "C.v",
    ),
    Way("regex", ("import re\nC = re.compile('a{VALUE}')"), "C.pattern"),
    Way("decimal", ("from decimal import Decimal\nC = Decimal('1.VALUE')"), "str(C)"),
    Way("datetime", ("import datetime\nC = datetime.timedelta(days=VALUE)"), "C.days"),
    Way("fraction", ("from fractions import Fraction\nC = Fraction(1, VALUE+1)"), "str(C)"),
    Way(
        "partial",
        ("from functools import partial\ndef g(a, x): return a * x\nC = partial(g, VALUE+1)"),
        "C(x)",
    ),
    Way(
        "partial_fn",
        ("from functools import partial\ndef g(a, x): return a * x + VALUE\nC = partial(g, 2)"),
        "C(x)",
    ),
    Way("lambda", "C = lambda x: x + VALUE", "C(x)"),
    Way("lambda_dict", "C = {'a': lambda x: x + VALUE}", "C['a'](x)"),
    Way("lambda_list", "C = [lambda x: x + VALUE]", "C[0](x)"),
    Way("fn_table", ("def g(x): return x + VALUE\nC = {'g': g}"), "C['g'](x)"),
    Way("fn_tuple_nested", ("def g(x): return x + VALUE\nC = ((('g', g),),)"), "C[0][0][1](x)"),
    Way("helper", "def g(x): return x + VALUE", "g(x)"),
    Way("helper2", ("def h(x): return x + VALUE\ndef g(x): return h(x)"), "g(x)"),
    Way("default", "def g(x, a=VALUE): return x + a", "g(x)"),
    Way("kwdefault", "def g(x, *, a=VALUE): return x + a", "g(x)"),
    Way("default_fn", ("def h(x): return x+VALUE\ndef g(x, a=h): return a(x)"), "g(x)"),
    Way("default_cls", ("class K:\n    v=VALUE\ndef g(x, a=K): return a.v"), "g(x)"),
    Way("closure", ("def make(v):\n    def g(x): return x + v\n    return g\ng = make(VALUE)"), "g(x)"),
    Way(
        "closure_fn",
        ("def make(h):\n    def g(x): return h(x)\n    return g\ng = make(lambda x: x + VALUE)"),
        "g(x)",
    ),
    Way(
        "closure_nested",
        (
            "def make(v):\n"
            "    def a():\n"
            "        def b(x): return x + v\n"
            "        return b\n"
            "    return a\n"
            "g = make(VALUE)"
        ),
        "g()(x)",
    ),
    Way(
        "decorator",
        ("def deco(f):\n    def w(x): return f(x) + VALUE\n    return w\n@deco\ndef g(x): return x"),
        "g(x)",
    ),
    Way(
        "decorator_arg",
        (
            "import functools\n"
            "def deco(n):\n"
            "    def d(f):\n"
            "        @functools.wraps(f)\n"
            "        def w(x): return f(x) + n\n"
            "        return w\n"
            "    return d\n"
            "@deco(VALUE)\n"
            "def g(x): return x"
        ),
        "g(x)",
    ),
    Way(
        "decorator_inner",
        (
            "import functools\n"
            "def deco(f):\n"
            "    @functools.wraps(f)\n"
            "    def w(x): return f(x)\n"
            "    return w\n"
            "@deco\n"
            "def g(x): return x+VALUE"
        ),
        "g(x)",
    ),
    Way("lru_cache", ("import functools\n@functools.lru_cache\ndef g(x): return x + VALUE"), "g(x)"),
    Way(
        "cache_dep",
        ("import functools\ndef h(x): return x+VALUE\n@functools.cache\ndef g(x): return h(x)"),
        "g(x)",
    ),
    Way(
        "contextmanager",
        (
            "import contextlib\n"
            "@contextlib.contextmanager\n"
            "def g(x):\n"
            "    yield x + VALUE\n"
            "def k(x):\n"
            "    with g(x) as y: return y"
        ),
        "k(x)",
    ),
    Way("property", ("class K:\n    @property\n    def p(s): return VALUE"), "K().p"),
    Way(
        "cached_property",
        ("import functools\nclass K:\n    @functools.cached_property\n    def p(s): return VALUE"),
        "K().p",
    ),
    Way("staticmethod", ("class K:\n    @staticmethod\n    def p(x): return x + VALUE"), "K.p(x)"),
    Way(
        "classmethod",
        ("class K:\n    v = VALUE\n    @classmethod\n    def p(c, x): return x + c.v"),
        "K.p(x)",
    ),
    Way("classattr", ("class K:\n    v = VALUE"), "K.v"),
    Way("inherit", ("class B:\n    def m(s): return VALUE\nclass K(B): pass"), "K().m()"),
    Way(
        "super",
        ("class B:\n    def m(s): return VALUE\nclass K(B):\n    def m(s): return super().m() + 1"),
        "K().m()",
    ),
    Way("meta", ("class M(type):\n    def __call__(c): return VALUE\nclass K(metaclass=M): pass"), "K()"),
    Way(
        "meta_prop",
        ("class M(type):\n    @property\n    def v(c): return VALUE\nclass K(metaclass=M): pass"),
        "K.v",
    ),
    Way(
        "init_subclass",
        ("class B:\n    def __init_subclass__(c, v): c.v = v\nclass K(B, v=VALUE): pass"),
        "K.v",
    ),
    Way("descriptor", ("class D:\n    def __get__(s, o, c): return VALUE\nclass K:\n    d = D()"), "K().d"),
    Way(
        "descriptor_state",
        (
            "class D:\n"
            "    def __init__(s, v): s.v=v\n"
            "    def __get__(s, o, c): return s.v\n"
            "class K:\n"
            "    d = D(VALUE)"
        ),
        "K().d",
    ),
    Way("getattr_cls", ("class K:\n    def __getattr__(s, n): return VALUE"), "K().anything"),
    Way("callable_inst", ("class K:\n    def __call__(s, x): return x + VALUE\ng = K()"), "g(x)"),
    Way(
        "callable_state",
        ("class K:\n    def __init__(s, v): s.v=v\n    def __call__(s, x): return x + s.v\ng = K(VALUE)"),
        "g(x)",
    ),
    Way(
        "bound",
        ("class K:\n    def __init__(s, v): s.v=v\n    def m(s, x): return x + s.v\ng = K(VALUE).m"),
        "g(x)",
    ),
    Way(
        "singledispatch",
        (
            "import functools\n"
            "@functools.singledispatch\n"
            "def g(x): return 0\n"
            "@g.register\n"
            "def _(x: int): return x + VALUE"
        ),
        "g(x)",
    ),
    Way(
        "singledispatch_lambda",
        (
            "import functools\n"
            "@functools.singledispatch\n"
            "def g(x): return 0\n"
            "g.register(int, lambda x: x+VALUE)"
        ),
        "g(x)",
    ),
    Way("generator", ("def g(x):\n    yield x + VALUE"), "list(g(x))"),
    Way("genexp", "C = VALUE", "sum(C for _ in range(3))"),
    Way("comp", "C = VALUE", "[C + i for i in range(2)]"),
    Way("cond_def", ("if VALUE == 1:\n    def g(x): return 1\nelse:\n    def g(x): return 2"), "g(x)"),
    Way("othermod", "import other", "other.g(x)", "def g(x): return x + VALUE"),
    Way("othermod_as", "import other as o", "o.g(x)", "def g(x): return x + VALUE"),
    Way("othermod_from", "from other import g", "g(x)", "def g(x): return x + VALUE"),
    Way("othermod_star", "from other import *", "g(x)", "def g(x): return x + VALUE"),
    Way("othermod_const", "import other", "other.C", "C = VALUE"),
    Way("othermod_list", "import other", "other.C", "C = [VALUE]"),
    Way("othermod_dep", "import other", "other.g(x)", ("C = VALUE\ndef g(x): return x + C")),
    Way("othermod_cls", "import other", "other.K().m()", ("class K:\n    def m(s): return VALUE")),
    Way(
        "othermod_base",
        ("import other\nclass K(other.B): pass"),
        "K().m()",
        ("class B:\n    def m(s): return VALUE"),
    ),
    Way(
        "othermod_import_inside",
        ("def k(x):\n    import other\n    return other.g(x)"),
        "k(x)",
        "def g(x): return x + VALUE",
    ),
    Way(
        "othermod_from_inside",
        ("def k(x):\n    from other import g\n    return g(x)"),
        "k(x)",
        "def g(x): return x + VALUE",
    ),
    Way("othermod_getattr", "import other", "getattr(other, 'g')(x)", "def g(x): return x + VALUE"),
    Way("othermod_alias", ("import other\ng = other.g"), "g(x)", "def g(x): return x + VALUE"),
    Way(
        "othermod_module_getattr",
        "import other",
        "other.anything",
        ("def __getattr__(n):\n    if n == 'anything': return VALUE\n    raise AttributeError(n)"),
    ),
    Way("othermod_vars", "import other", "vars(other)['C']", "C = VALUE"),
    Way("mod_in_tuple", ("import other\nM = (other,)"), "M[0].g(x)", "def g(x): return x + VALUE"),
    Way("mod_in_dict", ("import other\nM = {'a': other}"), "M['a'].g(x)", "def g(x): return x + VALUE"),
    Way(
        "mod_attr_of_class",
        ("import other\nclass K:\n    o = other"),
        "K.o.g(x)",
        "def g(x): return x + VALUE",
    ),
    Way(
        "mod_attr_of_inst",
        ("import other\nclass K:\n    def __init__(s): s.o = other\nC = K()"),
        "C.o.g(x)",
        "def g(x): return x + VALUE",
    ),
    Way(
        "mod_default",
        ("import other\ndef k(x, m=other): return m.g(x)"),
        "k(x)",
        "def g(x): return x + VALUE",
    ),
    Way("attr_fn", ("def g(x): return x + g.v\ng.v = VALUE"), "g(x)"),
    Way("attr_fn2", ("def g(x): return x\ng.v = VALUE"), "g.v"),
    Way("map_builtin", "def g(x): return x + VALUE", "list(map(g, [x]))"),
    Way("sorted_key", "def g(x): return x * (-1)**VALUE", "sorted([1,2,3], key=g)"),
    Way("operator", ("import operator\nC = operator.itemgetter(VALUE)"), "C([5,6,7,8])"),
    Way("methodcaller", ("import operator\nC = operator.methodcaller('count', VALUE)"), "C([1,2,2])"),
    Way(
        "wrapped_method",
        ("import types\nclass K:\n    pass\ndef g(s, x): return x + VALUE\nK.m = g"),
        "K().m(x)",
    ),
    Way("setattr_lambda", ("class K: pass\nsetattr(K, 'm', lambda s, x: x + VALUE)"), "K().m(x)"),
    Way(
        "inst_patched",
        ("import types\nclass K:\n    def m(s, x): return 0\nC = K()\nC.m = lambda x: x + VALUE"),
        "C.m(x)",
    ),
    Way("type3", "K = type('K', (), {'v': VALUE})", "K.v"),
    Way("type3_m", "K = type('K', (), {'m': lambda s, x: x + VALUE})", "K().m(x)"),
    Way("fstring", "C = VALUE", "f'{C}'"),
    Way("match", ("C = VALUE\ndef g(x):\n    match x:\n        case 3: return C"), "g(x)"),
    Way("nested_fn", "C = VALUE", "(lambda: (lambda: C)())()"),
    Way(
        "nested_def",
        ("C = VALUE\ndef k(x):\n    def a():\n        def b(): return C\n        return b()\n    return a()"),
        "k(x)",
    ),
    Way("class_in_fn", ("C = VALUE\ndef k(x):\n    class A:\n        v = C\n    return A.v"), "k(x)"),
    Way("default_in_nested", ("C = VALUE\ndef k(x):\n    def a(y=C): return y\n    return a()"), "k(x)"),
    Way(
        "try_except",
        (
            "class Err(Exception):\n"
            "    code = VALUE\n"
            "def k(x):\n"
            "    try: raise Err\n"
            "    except Err as e: return e.code"
        ),
        "k(x)",
    ),
    Way("simple_ns", ("import types\nC = types.SimpleNamespace(a=VALUE)"), "C.a"),
    Way("mapping_proxy", ("import types\nC = types.MappingProxyType({'a': VALUE})"), "C['a']"),
    Way("ordereddict", ("from collections import OrderedDict\nC = OrderedDict(a=VALUE)"), "C['a']"),
    Way(
        "defaultdict",
        ("from collections import defaultdict\nC = defaultdict(lambda: VALUE)"),
        "C.get('z', C.default_factory())",
    ),
    Way("counter", ("from collections import Counter\nC = Counter('a' * VALUE)"), "C['a']"),
    Way("deque", ("from collections import deque\nC = deque([VALUE])"), "list(C)"),
    Way("chainmap", ("from collections import ChainMap\nC = ChainMap({}, {'a': VALUE})"), "C['a']"),
    Way("range", "C = range(VALUE)", "list(C)"),
    Way("slice", "C = slice(VALUE)", "[1,2,3][C]"),
    Way("bytes", "C = b'VALUE'", "C"),
    Way("bytearray", "C = bytearray(b'VALUE')", "bytes(C)"),
    Way("memoryview", "C = memoryview(b'VALUE')", "bytes(C)"),
    Way("arraymod", ("import array\nC = array.array('i', [VALUE])"), "C.tolist()"),
    Way("path", ("import pathlib\nC = pathlib.PurePosixPath('aVALUE')"), "str(C)"),
    Way("uuid", ("import uuid\nC = uuid.UUID(int=VALUE)"), "str(C)"),
    Way("complex", "C = complex(VALUE, 1)", "C"),
    Way("float", "C = VALUE / 3", "C"),
    Way("ellipsis_none", "C = None if VALUE == 1 else ...", "C is None"),
    Way("bool_int", "C = (True, 1, 1.0)[VALUE]", "repr(C)"),
    Way("negzero", "C = 0.0 * (-1)**VALUE", "repr(C)"),
    Way(
        "ctx_decorator_cls",
        (
            "class deco:\n"
            "    def __init__(s, f): s.f = f\n"
            "    def __call__(s, x): return s.f(x) + VALUE\n"
            "@deco\n"
            "def g(x): return x"
        ),
        "g(x)",
    ),
    Way(
        "deco_cls_inner",
        (
            "class deco:\n"
            "    def __init__(s, f): s.f = f\n"
            "    def __call__(s, x): return s.f(x)\n"
            "@deco\n"
            "def g(x): return x + VALUE"
        ),
        "g(x)",
    ),
    Way(
        "registry",
        ("R = {}\ndef reg(f):\n    R[f.__name__] = f\n    return f\n@reg\ndef g(x): return x + VALUE"),
        "g(x)",
    ),
    Way(
        "registry_used",
        ("R = {}\ndef reg(f):\n    R[f.__name__] = f\n    return f\n@reg\ndef g(x): return x + VALUE"),
        "R['g'](x)",
    ),
    Way(
        "abc",
        (
            "import abc\n"
            "class B(abc.ABC):\n"
            "    @abc.abstractmethod\n"
            "    def m(s): ...\n"
            "    def k(s): return s.m()\n"
            "class K(B):\n"
            "    def m(s): return VALUE"
        ),
        "K().k()",
    ),
    Way(
        "protocol",
        ("from typing import Protocol\nclass B(Protocol):\n    def m(s): return VALUE\nclass K(B): pass"),
        "K().m()",
    ),
    Way("operator_dunder", ("class K:\n    def __add__(s, o): return o + VALUE"), "K() + x"),
    Way("iter_dunder", ("class K:\n    def __iter__(s): return iter([VALUE])"), "list(K())"),
    Way("format_dunder", ("class K:\n    def __format__(s, f): return 'VALUE'"), "f'{K()}'"),
    Way("len_dunder", ("class K:\n    def __len__(s): return VALUE"), "len(K())"),
    Way("eq_hash", ("class K:\n    def __eq__(s, o): return VALUE == 1\n    __hash__ = None"), "K() == 3"),
    Way("new", ("class K:\n    def __new__(c): return VALUE"), "K()"),
    Way("class_getitem", ("class K:\n    def __class_getitem__(c, i): return VALUE"), "K[0]"),
    Way(
        "generic",
        (
            "from typing import Generic, TypeVar\n"
            "T = TypeVar('T')\n"
            "class B(Generic[T]):\n"
            "    def m(s): return VALUE\n"
            "class K(B[int]): pass"
        ),
        "K().m()",
    ),
    Way(
        "instancecheck",
        ("class M(type):\n    def __instancecheck__(c, o): return VALUE == 1\nclass K(metaclass=M): pass"),
        "isinstance(3, K)",
    ),
    Way("async", ("import asyncio\nasync def g(x): return x + VALUE"), "asyncio.run(g(x))"),
    Way(
        "partialmethod",
        (
            "import functools\n"
            "class K:\n"
            "    def m(s, a, x): return a + x\n"
            "    p = functools.partialmethod(m, VALUE)"
        ),
        "K().p(x)",
    ),
    Way(
        "total_ordering",
        (
            "import functools\n"
            "@functools.total_ordering\n"
            "class K:\n"
            "    def __eq__(s, o): return False\n"
            "    def __lt__(s, o): return VALUE == 1"
        ),
        "K() >= K()",
    ),
    Way(
        "reduce",
        (
            "import functools\n"
            "C = functools.reduce(lambda a, f: (lambda x: f(a(x))), [lambda x: x + VALUE, lambda x: x * 2])"
        ),
        "C(x)",
    ),
    Way(
        "compose",
        ("def comp(f, g): return lambda x: f(g(x))\nC = comp(lambda x: x * 2, lambda x: x + VALUE)"),
        "C(x)",
    ),
    Way(
        "cell_list",
        ("def make(v):\n    l = [v]\n    def g(x): return l[0] + x\n    return g\ng = make(VALUE)"),
        "g(x)",
    ),
    Way(
        "cell_obj",
        (
            "class K: pass\n"
            "def make(v):\n"
            "    o = K(); o.v = v\n"
            "    def g(x): return o.v + x\n"
            "    return g\n"
            "g = make(VALUE)"
        ),
        "g(x)",
    ),
    Way("exec_def", "exec('def g(x): return x + VALUE')", "g(x)"),
    Way("eval_lambda", "g = eval('lambda x: x + VALUE')", "g(x)"),
    Way("string_template", ("import string\nC = string.Template('aVALUE')"), "C.template"),
    Way("annot_used", "def g(x: VALUE): return x", "g.__annotations__['x']"),
    Way("doc_used", ("def g(x):\n    'doc VALUE'"), "g.__doc__"),
    Way("name_used", ("def gVALUE(x): return x\nC = gVALUE"), "C.__name__"),
    Way("cls_doc", ("class K:\n    'doc VALUE'"), "K.__doc__"),
    Way("cls_annot", ("class K:\n    a: 'intVALUE'"), "K.__annotations__['a']"),
    Way("newtype_inst_dict", ("class K(dict): pass\nC = K(a=VALUE)"), "C['a']"),
    Way("inst_list_sub", ("class K(list): pass\nC = K([VALUE])"), "C[0]"),
    Way("int_sub", ("class K(int): pass\nC = K(VALUE)"), "int(C)"),
    Way("str_sub_attr", ("class K(str): pass\nC = K('a'); C.v = VALUE"), "C.v"),
    Way("np_vectorize", ("import numpy as np\nC = np.vectorize(lambda x: x + VALUE)"), "int(C(x))"),
    Way("np_poly", ("import numpy as np\nC = np.poly1d([1, VALUE])"), "float(C(x))"),
    Way("np_scalar", ("import numpy as np\nC = np.float64(VALUE)"), "float(C)"),
    Way("np_dtype", ("import numpy as np\nC = np.dtype('f%d' % (4*VALUE))"), "str(C)"),
    Way("df", ("import pandas as pd\nC = pd.DataFrame({'a': [VALUE]})"), "int(C.a[0])"),
    Way("series", ("import pandas as pd\nC = pd.Series([VALUE], name='q')"), "int(C[0])"),
    Way("walrus", "C = VALUE", "(y := C) + y"),
    Way("star_args", "C = (VALUE, 2)", "sum([*C])"),
    Way("dict_unpack", ("C = {'a': VALUE}\ndef g(**k): return k"), "g(**C)"),
    Way("env_const", ("import os\nC = os.sep * VALUE"), "C"),
    Way(
        "ret_cls_inst",
        (
            "class K:\n"
            "    def __init__(s, x): s.x = x\n"
            "    def val(s): return s.x + VALUE\n"
            "def mk(x): return K(x)"
        ),
        "mk(x).val()",
    ),
    Way(
        "ret_cls_dep",
        ("def hh(x): return x + VALUE\nclass K:\n    def val(s, x): return hh(x)\ndef mk(): return K()"),
        "mk().val(x)",
    ),
    Way("attr_chain", ("class A:\n    class B:\n        v = VALUE"), "A.B.v"),
    Way("global_obj_cls_attr", ("class A:\n    v = VALUE\na = A()"), "a.v"),
    Way("type_of", ("class A:\n    v = VALUE\na = A()"), "type(a).v"),
    Way(
        "mro_mixin",
        ("class X:\n    def m(s): return VALUE\nclass Y: pass\nclass Z(Y, X): pass\nz = Z()"),
        "z.m()",
    ),
    Way("slots_desc", ("class A:\n    __slots__ = ('q',)\n    def get(s): return VALUE"), "A().get()"),
    Way(
        "loop_var_closures",
        "FS = [ (lambda i: (lambda x: x + i))(i) for i in range(VALUE, VALUE+2)]",
        "[g(x) for g in FS]",
    ),
    Way(
        "functools_partial_kw",
        ("import functools\ndef g(x, k=0): return x + k\nC = functools.partial(g, k=VALUE)"),
        "C(x)",
    ),
    Way("typing_literal", ("import typing\nC = typing.Literal[VALUE]"), "typing.get_args(C)"),
    Way("frozenset", "C = frozenset([VALUE])", "sorted(C)"),
    Way("nested_mixed", "C = [{'a': (1, [lambda x: x + VALUE])}]", "C[0]['a'][1][0](x)"),
    Way(
        "inst_holding_fn", ("class A:\n    def __init__(s, f): s.f = f\nC = A(lambda x: x + VALUE)"), "C.f(x)"
    ),
    Way(
        "inst_holding_inst",
        ("class A:\n    def __init__(s, f): s.f = f\nclass B:\n    def m(s): return VALUE\nC = A(B())"),
        "C.f.m()",
    ),
    Way(
        "inst_holding_cls",
        ("class A:\n    def __init__(s, f): s.f = f\nclass B:\n    v = VALUE\nC = A(B)"),
        "C.f.v",
    ),
    Way("list_of_inst", ("class B:\n    def m(s): return VALUE\nC = [B()]"), "C[0].m()"),
    Way("list_of_cls", ("class B:\n    def m(s): return VALUE\nC = [B]"), "C[0]().m()"),
    Way("dict_cls", ("class B:\n    v = VALUE\nC = {'b': B}"), "C['b'].v"),
    Way(
        "enum_method", ("import enum\nclass E(enum.Enum):\n    A = 1\n    def m(s): return VALUE"), "E.A.m()"
    ),
    Way(
        "enum_const",
        ("import enum\nclass E(enum.Enum):\n    A = 1\n    def m(s): return VALUE\nC = E.A"),
        "C.m()",
    ),
    Way("mutated_list", ("C = []\nC.append(VALUE)"), "C"),
    Way("global_set_by_fn", ("C = None\ndef setup():\n    global C\n    C = VALUE\nsetup()"), "C"),
]
