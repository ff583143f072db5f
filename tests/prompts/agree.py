"""Run by the interpreter of `.prompts`: what DSPy itself renders and reads of the cases on standard input.

In: {"prompt": folder, "inputs": [{name: text}], "signature": {...}, "answers": [text]}. Out: {"messages", "read"}, a
null where DSPy refuses.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from registry import prompt_dspy, prompt_signature, prompts


def main() -> None:
    cases = json.load(sys.stdin)
    dspy = prompt_dspy.imported()
    frozen = prompts.load(Path(cases["prompt"]), None)
    predictor = prompt_dspy.loaded(frozen.rendering.files["program.json"], frozen.signature)
    messages = [prompt_dspy.render(predictor, frozen.signature, each) for each in cases["inputs"]]
    signature = prompt_signature.parse(json.dumps(cases["signature"]).encode(), "signature")
    typed = prompt_dspy.program(signature, "Answer.").signature

    def read(answer: str) -> Any:
        try:
            return dspy.ChatAdapter().parse(typed, answer)
        except Exception:
            return None

    json.dump({"messages": messages, "read": [read(each) for each in cases["answers"]]}, sys.stdout)


if __name__ == "__main__":
    main()
