"""What a rule says instead of a function or a method of torch and numpy, an operator, or an in-place operation."""

from __future__ import annotations

from collections.abc import Mapping

#: Words that are called here as they are there.
_WORDS = {
    **dict.fromkeys(("sqrt", "square", "sign", "exp", "log", "cos", "tanh", "sigmoid"), "(x)"),
    **dict.fromkeys(("mean", "norm", "amax"), "(x)"),
    **dict.fromkeys(("minimum", "maximum", "dot"), "(a, b)"),
    "atan2": "(y, x)",
    "clamp": "(x, low, high)",
    "lerp": "(start, end, weight)",
    "where": "(condition, a, b)",
    "softplus": "(x, sharpness)",
    "bfloat16": "(x)",
}
_STACKED = "a function of torch tensors that is marked @stacked(...)"
#: What is written in another way: by the name of a function or method, without the underscores around it.
_OTHERS: Mapping[str, str] = {
    **{name: f"{name}{arguments} of optim_core.rules" for name, arguments in _WORDS.items()},
    **dict.fromkeys(("add", "radd", "iadd"), "a + b"),
    **dict.fromkeys(("sub", "subtract", "rsub", "isub"), "a - b"),
    **dict.fromkeys(("mul", "multiply", "rmul", "imul"), "a * b"),
    **dict.fromkeys(("div", "divide", "true_divide", "truediv", "rtruediv", "rdiv", "itruediv"), "a / b"),
    **dict.fromkeys(("pow", "power", "rpow", "float_power"), "a**b"),
    **dict.fromkeys(("neg", "negative"), "-x"),
    **dict.fromkeys(("abs", "absolute", "fabs"), "abs(x)"),
    **dict.fromkeys(("sgn", "signbit"), "sign(x) of optim_core.rules"),
    **dict.fromkeys(("clip", "clamp_min", "clamp_max", "clip_grad_norm"), "clamp(x, low, high) of optim_core.rules"),
    **dict.fromkeys(("fmax", "max"), "amax(x) or maximum(a, b) of optim_core.rules"),
    **dict.fromkeys(("fmin", "min", "amin"), "-amax(-x) or minimum(a, b) of optim_core.rules"),
    **dict.fromkeys(("linalg_vector_norm", "linalg_norm", "frobenius_norm"), "norm(x) of optim_core.rules"),
    **dict.fromkeys(("inner", "vdot", "vecdot"), "dot(a, b) of optim_core.rules"),
    **dict.fromkeys(("sum", "nansum"), "mean(x) * size(x), or total(x) over all parameters, of optim_core.rules"),
    **dict.fromkeys(("numel", "nelement", "size", "shape"), "size(x) of optim_core.rules, or x.ndim"),
    **dict.fromkeys(("dim", "ndimension"), "x.ndim"),
    **dict.fromkeys(("std", "var"), "square(x - mean(x)), then mean and sqrt, of optim_core.rules"),
    **dict.fromkeys(("relu", "relu6", "threshold"), "maximum(x, 0.0) of optim_core.rules"),
    **dict.fromkeys(("logical_and", "bitwise_and"), "a & b"),
    **dict.fromkeys(("logical_or", "bitwise_or"), "a | b"),
    **dict.fromkeys(("logical_not", "bitwise_not", "invert"), "~a"),
    **dict.fromkeys(("gt", "greater"), "a > b"),
    **dict.fromkeys(("ge", "greater_equal"), "a >= b"),
    **dict.fromkeys(("lt", "less"), "a < b"),
    **dict.fromkeys(("le", "less_equal"), "a <= b"),
    **dict.fromkeys(("eq", "equal"), "a == b"),
    **dict.fromkeys(("ne", "not_equal"), "a != b"),
    **dict.fromkeys(("zeros_like", "zeros", "new_zeros", "zero"), "0.0"),
    **dict.fromkeys(("ones_like", "ones", "new_ones"), "1.0"),
    **dict.fromkeys(("full_like", "full", "fill"), "the number itself"),
    **dict.fromkeys(("clone", "copy", "detach", "contiguous", "data", "to", "float", "double", "half"), "x itself"),
    **dict.fromkeys(("item", "tolist", "cpu", "numpy", "array"), "x itself; a rule is recorded once, without numbers"),
    **dict.fromkeys(("rand", "randn", "rand_like", "randn_like", "bernoulli", "dropout"), "an extra input, extra(...)"),
    **dict.fromkeys(("arctan2", "angle"), "atan2(y, x) of optim_core.rules"),
    "rsqrt": "1 / sqrt(x)",
    "reciprocal": "1 / x",
    "log1p": "log(1 + x) of optim_core.rules",
    "expm1": "exp(x) - 1",
    "exp2": "2**x",
    "addcmul": "a + value * b * c",
    "addcdiv": "a + value * b / c",
    "masked_fill": "where(condition, value, x) of optim_core.rules",
    "grad": "g, the rule's second argument",
    "index_put": "where(condition, a, b) of optim_core.rules",
    "floor_divide": "a / b; nothing is rounded in a rule, `%` works on host numbers",
    "remainder": "a % b, on host numbers",
}


def instead_of(name: str) -> str:
    """What to write instead of a function or method of that name.

    Example:
        >>> instead_of("addcdiv_")
        'write a + value * b / c, and return the new value: a rule changes nothing in place'
        >>> instead_of("linalg_svd")
        'write a function of torch tensors that is marked @stacked(...)'
    """
    bare = name.strip("_")
    in_place = (name.endswith("_") and not name.startswith("_")) or name in ("__setitem__", "__iadd__")
    tail = ", and return the new value: a rule changes nothing in place" if in_place else ""
    return f"write {_OTHERS.get(bare, _STACKED)}{tail}"
