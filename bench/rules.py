from bench.report import Options, Report

ABOUT = ""


def run(options: Options) -> Report:
    return Report("rules", ABOUT, options.seed)
