"""What experiments with causal language models show: samples after each evaluation, bits per byte beside baselines."""

from dataclasses import dataclass

from ssl_jax.data.corpus import original_text
from ssl_jax.data.pretraining_text import MakeRows, PretrainingText
from ssl_jax.decoding.decoder import Decoder
from ssl_jax.evals.bits_per_byte import compressed_bits, ngram_bits
from ssl_jax.reports.files import save_text
from ssl_jax.reports.text_samples import SamplesConfig, sample_texts, with_prompts
from ssl_jax.training.experiment import Report


@dataclass(frozen=True)
class LanguageModelReport:
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
        """Writes samples/step-N.txt: the perplexity, then each prompt with its continuation."""
        perplexity = report.metrics["heldout"]["perplexity"]
        head = f"step {report.step}: perplexity {perplexity:.2f} per held-out token, {self._evaluation()}"
        report.log(head)
        if texts := self._texts(report):
            save_text(report, f"samples/step-{report.step}.txt", "\n\n".join([head, *texts]) + "\n")

    def report(self, report: Report) -> None:
        """Prints the held-out bits per byte among those of n-gram baselines and compressors, and the last samples."""
        text: PretrainingText = report.data.details
        heldout = self.windows(text.heldout_corpus, self.length, text.tokenizer).corpus
        original = original_text(text.heldout_source, heldout)
        size = sum(map(len, original))
        report.log(
            f"\nbits per byte of held-out text, {size:,} bytes in {len(heldout.hashes):,} documents (n-gram baselines "
            "are counted in the training text, compressors see nothing but this text):"
        )
        metrics = report.metrics["heldout"]
        bits = {
            f"{order}-grams, Kneser-Ney": value
            for order, value in ngram_bits(text.training_corpus, heldout, text.tokenizer).items()
        }
        bits |= compressed_bits(original)
        report.baselines["bits_per_byte"] = dict(bits)
        model = f"model, perplexity {metrics['perplexity']:.1f} per token, {self._evaluation()}"
        bits[model] = metrics["bits_per_byte"]
        for name, value in sorted(bits.items(), key=lambda row: -row[1]):
            report.log(f"  {value:6.3f}  {name}")
        texts = self._texts(report)
        if texts:
            report.log("\nsamples (those of each evaluation are in samples/):")
        for written in texts:
            report.log(f"  {written}\n")

    def _evaluation(self) -> str:
        return f"windows of {self.length} tokens, stride {self.stride}"

    def _texts(self, report: Report) -> list[str]:
        text: PretrainingText = report.data.details
        samples = with_prompts(self.samples, text, self.decoder.positions)
        return sample_texts(samples, self.decoder, report.variables["params"], text.tokenizer)
