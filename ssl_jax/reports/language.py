"""What experiments on causal language models show: samples after each evaluation, figures beside counting."""

from dataclasses import dataclass

from ssl_jax.data.pretraining_text import MakeRows, PretrainingText
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.evals.language import show_bits_per_byte
from ssl_jax.evals.text_samples import SamplesConfig, write_samples
from ssl_jax.training.experiment import Report
from ssl_jax.training.folder import writing


@dataclass(frozen=True)
class LanguageReport:
    """An experiment's `sample` and `report`.

    Attributes:
      samples: prompts, and how they are continued.
      decoder: of the model.
      windows: makes the rows that are evaluated; see `ssl_jax.data.next_token.heldout_windows`.
      length, stride: of these windows, in tokens.
    """

    samples: SamplesConfig
    decoder: Decoder
    windows: MakeRows
    length: int
    stride: int

    def sample(self, report: Report) -> None:
        """Writes samples/step-N.txt in the run folder: the perplexity, then each prompt with what follows."""
        perplexity = report.metrics["heldout"]["perplexity"]
        head = f"step {report.step}: perplexity {perplexity:.2f} per held-out token, {self._how()}"
        report.log(head)
        texts = self._write(report)
        if report.writes and texts:
            file = report.folder / "samples" / f"step-{report.step}.txt"
            with writing(file):
                file.parent.mkdir(exist_ok=True)
                file.write_text("\n\n".join([head, *texts]) + "\n")

    def report(self, report: Report) -> None:
        """Prints the held-out bits per byte beside counting and compressors, and the last samples."""
        text: PretrainingText = report.data.details
        corpus = self.windows(text.heldout_corpus, self.length, text.tokenizer).corpus
        show_bits_per_byte(text, corpus, report.metrics["heldout"], self._how(), report.log)
        texts = self._write(report)
        if texts:
            report.log("\nsamples (those of each evaluation are in samples/):")
        for written in texts:
            report.log(f"  {written}\n")

    def _how(self) -> str:
        return f"windows of {self.length} tokens, stride {self.stride}"

    def _write(self, report: Report) -> list[str]:
        tokenizer = report.data.details.tokenizer
        return write_samples(self.samples, self.decoder, report.variables["params"], tokenizer)
