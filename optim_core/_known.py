"""Names and aliases of the methods in first-party packs. Generated: python -m optim_core.known --write."""

from __future__ import annotations

from optim_core.specs import Kind

#: From a normalised name to the method's name, its kind and its pack.
KNOWN: dict[str, tuple[str, Kind, str]] = {
    "adabelief": ("adabelief", "optimizer", "adaptive"),
    "adafactor": ("adafactor", "optimizer", "adaptive"),
    "adahessian": ("adahessian", "optimizer", "second_order"),
    "adam": ("adam", "optimizer", "adaptive"),
    "adamp": ("adamp", "optimizer", "adaptive"),
    "adamw": ("adamw", "optimizer", "adaptive"),
    "adan": ("adan", "optimizer", "adaptive"),
    "adaptivegradientclipping": ("agc", "wrapper", "wrappers"),
    "agc": ("agc", "wrapper", "wrappers"),
    "aggmo": ("aggmo", "optimizer", "momentum"),
    "amsgrad": ("amsgrad", "optimizer", "adaptive"),
    "caution": ("cautious", "wrapper", "wrappers"),
    "cautious": ("cautious", "wrapper", "wrappers"),
    "chebyshev": ("chebyshev", "scheduler", "schedulers"),
    "chebyshevlr": ("chebyshev", "scheduler", "schedulers"),
    "exploreexploit": ("explore_exploit", "scheduler", "schedulers"),
    "exploreexploitlr": ("explore_exploit", "scheduler", "schedulers"),
    "fractal": ("chebyshev", "scheduler", "schedulers"),
    "fromage": ("fromage", "optimizer", "noncommercial"),
    "gc": ("gc", "wrapper", "wrappers"),
    "gradientcentralization": ("gc", "wrapper", "wrappers"),
    "knee": ("explore_exploit", "scheduler", "schedulers"),
    "kneelr": ("explore_exploit", "scheduler", "schedulers"),
    "lamb": ("lamb", "optimizer", "adaptive"),
    "lion": ("lion", "optimizer", "sign"),
    "lookahead": ("lookahead", "wrapper", "wrappers"),
    "nero": ("nero", "optimizer", "noncommercial"),
    "pcgrad": ("pcgrad", "wrapper", "multitask"),
    "prodigy": ("prodigy", "optimizer", "adaptive"),
    "radam": ("radam", "optimizer", "adaptive"),
    "sam": ("sam", "wrapper", "sharpness"),
    "sgd": ("sgd", "optimizer", "momentum"),
    "sgdw": ("sgdw", "optimizer", "momentum"),
    "shampoo": ("shampoo", "optimizer", "second_order"),
    "signsgd": ("signsgd", "optimizer", "sign"),
    "signum": ("signsgd", "optimizer", "sign"),
    "sophia": ("sophiah", "optimizer", "second_order"),
    "sophiah": ("sophiah", "optimizer", "second_order"),
    "untunedlinearwarmup": ("untuned_linear_warmup", "scheduler", "schedulers"),
}
