#include "mos/jobs/convert_concept.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "mos/base/error.h"
#include "mos/base/log.h"
#include "mos/base/outputs.h"
#include "mos/base/require.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/mean_rows.h"
#include "mos/diffusion/model.h"
#include "mos/io/narrowing.h"
#include "mos/nn/compute.h"
#include "mos/session/output_kinds.h"
#include "mos/text/concept_word.h"

namespace mos::jobs {

namespace fs = std::filesystem;
using concepts::ConceptDelta;
using concepts::ConceptFormat;
using concepts::Reduction;

namespace {

/// A job with its texts read.
struct Order {
  ConceptFormat format = ConceptFormat::kMos;
  std::optional<std::string> word, new_word;
  std::optional<torch::ScalarType> dtype;
  const ConvertConceptJob& job;
};

void take_word(Order& order) {
  const auto& text = order.job.word;
  if (text.empty()) return;
  const auto equals = text.rfind('=');  // the old word may have some
  order.word = text.substr(0, equals);
  if (equals != std::string::npos) order.new_word = text.substr(equals + 1);
  if (order.word->empty() || (order.new_word && order.new_word->empty())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--word is \"{}\", expected WORD or WORD=NEW", text));
  }
  require(order.job.only != Half::kLora,
          "--word chooses a word, and --only lora leaves all words out; give one of them");
}

bool is_called(const concepts::ConceptWord& word, const std::string& name) {
  return word.word == name || (!word.alias.empty() && word.alias == name);
}

/// `--word` in view of the words that there are: one that is there as it stands is meant, '=' and
/// all.
void settle_word(Order& order, const ConceptDelta& delta) {
  if (!order.new_word) return;
  const auto& text = order.job.word;
  if (std::any_of(delta.words.begin(), delta.words.end(),
                  [&](const auto& word) { return is_called(word, text); })) {
    order.word = text;
    order.new_word.reset();
  } else if (const auto fault = text::new_word_fault(*order.new_word); !fault.empty()) {
    throw Error(ErrorKind::kUsage, fmt::format("--word \"{}\": the new word cannot stand in a "
                                               "prompt: {}; choose another",
                                               text, fault));
  }
}

/// Refers to `job`.
Order order_of(const ConvertConceptJob& job) {
  Order order{.job = job};
  order.format =
      job.to.empty() ? concepts::format_of_ending(job.out) : concepts::concept_format(job.to);
  take_word(order);
  if (!job.dtype.empty()) order.dtype = nn::weights_dtype_named(job.dtype);
  return order;
}

/// The asked-for part of the concept.
void cut(ConceptDelta& delta, const Order& order) {
  const auto& in = order.job.in;
  if (order.job.only == Half::kWords) {
    require(!delta.words.empty(), fmt::format("--only words: {} has no words to write", in));
    delta.updates.clear();
  } else if (order.job.only == Half::kLora) {
    require(delta.layer_count() > 0, fmt::format("--only lora: {} has no LoRA to write", in));
    delta.words.clear();
  }
  if (!order.word) return;
  const auto found = std::find_if(delta.words.begin(), delta.words.end(),
                                  [&](const auto& word) { return is_called(word, *order.word); });
  if (found == delta.words.end()) {
    const auto words = delta.words.empty() ? "no words" : fmt::format("\"{}\"", delta.phrase());
    throw Error(ErrorKind::kUsage,
                fmt::format("there is no word {} in {}, which has {}", *order.word, in, words));
  }
  const auto chosen = *found;
  delta.words = {chosen};
  if (order.new_word) delta.words.front().word = *order.new_word;
}

bool has_layerwise_rows(const ConceptDelta& delta) {
  return std::any_of(delta.words.begin(), delta.words.end(),
                     [](const auto& word) { return word.layers() > 1; });
}

/// Says what is lost, in numbers if there is a base model to measure it on.
void take_means(ConceptDelta& delta, const ConceptDelta& whole, const Order& order,
                const JobContext& context) {
  if (!order.job.mean_rows || !has_layerwise_rows(delta)) return;
  if (!order.job.base.empty()) {
    auto base = diffusion::Model::load(order.job.base, {.read = order.job.read});
    const auto change = concepts::measure_mean_rows(base, whole);
    tell_result(context, fmt::format("mean rows change the text features by {:.3g} %, the U-Net's "
                                     "prediction by {:.3g} %",
                                     100 * change.text, 100 * change.prediction));
  } else {
    log::warn("the mean of each word's rows stands for all layers now; --base measures the change");
  }
  delta = concepts::with_mean_rows(delta);
}

void cast(ConceptDelta& delta, torch::ScalarType dtype, const fs::path& out) {
  io::Narrowing narrowing;
  for (auto& word : delta.words) {
    word.rows = word.rows.changed([&, &name = word.word](const torch::Tensor& rows) {
      return narrowing.cast(name, rows, dtype);
    });
  }
  for (auto& [part, updates] : delta.updates) {
    for (auto& [layer, update] : updates) {
      update.for_each_tensor([&, &name = layer](torch::Tensor& tensor) {
        tensor = narrowing.cast(name, tensor, dtype);
      });
    }
  }
  narrowing.warn(out.string());
}

ConceptDelta with_asked_rows(const ConceptDelta& delta, const Order& order) {
  return order.job.mean_rows ? concepts::with_mean_rows(delta) : delta;
}

/// In forms that the format holds.
Reduction reduced(ConceptDelta delta, const Order& order) {
  const auto held = concepts::forms_held_by(order.format);
  if (held == concepts::HeldForms::kNone) return {.delta = std::move(delta)};
  std::optional<diffusion::Model> base;
  if (!order.job.base.empty() && concepts::needs_base(held, delta)) {
    base = diffusion::Model::load(order.job.base, {.read = order.job.read});
  }
  return concepts::reduced_to(held, std::move(delta), order.job.rank, base ? &*base : nullptr);
}

/// What was asked for and changed nothing is said: one line of options may be of many files.
void warn_of_idle(const ConceptDelta& delta, const Reduction& reduction, const Order& order) {
  const auto& job = order.job;
  const bool means = job.mean_rows && has_layerwise_rows(delta);
  if (!job.base.empty() && !means && reduction.layers == 0) {
    log::warn(
        fmt::format("--base changes nothing: {} has no rows to measure the mean of, and no "
                    "form that becomes another one on it",
                    job.in));
  }
  if (job.rank != ConvertConceptJob().rank && reduction.layers == 0) {
    log::warn(fmt::format("--rank {} changes nothing: all of {} is written in the form it has",
                          job.rank, job.in));
  }
}

/// A1111 and ComfyUI call an embedding as its file.
void warn_of_other_name(const ConceptDelta& delta, const Order& order, const fs::path& out) {
  const bool by_file = order.format == ConceptFormat::kA1111 || order.format == ConceptFormat::kXti;
  if (!by_file || delta.words.front().word == out.stem().string()) return;
  log::warn(fmt::format("A1111 and ComfyUI will call this embedding {}, as its file, and not {}",
                        out.stem().string(), delta.words.front().word));
}

}  // namespace

void check(const ConvertConceptJob& job) {
  if (job.out.empty()) {
    throw Error(ErrorKind::kUsage, "mos convert needs --out FOLDER or --out FILE.safetensors");
  }
  check_fields(job);
  require(!job.base.empty() || job.read == checkpoint::ReadOptions(),
          "--variant, --ema, --prediction-type and --original-config say how --base is read, which "
          "is not given");
  order_of(job);
}

void run(const ConvertConceptJob& job, const JobContext& context) {
  const log::ScopedSink sink(context.log);
  check(job);
  auto order = order_of(job);
  Outputs outputs;
  outputs.read("the concept", job.in);
  outputs.read("--base", job.base);
  outputs.read("--config", context.config);
  outputs.write(FileOutput{.name = "--out", .path = job.out, .kind = session::concept_kind()});
  outputs.check();
  auto file = concepts::read_concept_file(job.in, job.keys.unexpected());
  log::info(fmt::format("{}: {}", job.in, file.keys.summary()));
  if (job.keys.list_keys) file.keys.tell_listing();
  auto delta = file.delta;
  settle_word(order, delta);
  cut(delta, order);
  // What has no room is said before the work, and before there is a result to tell.
  concepts::check_room(order.format, with_asked_rows(delta, order), job.out);
  auto reduction = reduced(std::move(delta), order);
  delta = std::exchange(reduction.delta, {});
  concepts::check_holds(order.format, with_asked_rows(delta, order), job.out);
  if (reduction.layers > 0) tell_result(context, concepts::cost_text(reduction, job.rank));
  warn_of_idle(delta, reduction, order);
  take_means(delta, file.delta, order, context);
  if (order.dtype) cast(delta, *order.dtype, job.out);
  if (context.cancel != nullptr) context.cancel->check();
  concepts::write_concept(job.out, delta, order.format, {.kind = session::concept_kind()});
  warn_of_other_name(delta, order, job.out);
  tell_result(context, job.out);
}

}  // namespace mos::jobs
