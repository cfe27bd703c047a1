from bench.report import Options, Report

ABOUT = ""


def run(options: Options) -> Report:
    return Report("latency", ABOUT, options.seed)
