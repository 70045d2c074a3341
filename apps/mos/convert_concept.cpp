#include "convert_concept.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <string>

#include "compute.h"
#include "concept_keys.h"
#include "mos/base/log.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/mean_rows.h"
#include "mos/io/narrowing.h"
#include "output_kinds.h"
#include "terminal.h"

namespace mos::app {

namespace fs = std::filesystem;
using concepts::ConceptDelta;
using concepts::ConceptFormat;

const char* const kConvertConceptHelp =
    "Of concepts, LoRA and embeddings:\n"
    "  --to FORMAT              mos, official (the authors' .pth), kohya, peft, diffusers,\n"
    "                           a1111, textual-inversion or xti [by the ending of --out]\n"
    "  --only words|lora        leave the other half out\n"
    "  --word WORD[=NEW]        this word alone, under another name if NEW is given\n"
    "  --mean-rows              one row for a word that has one for each layer: their mean\n"
    "  --base MODEL             measure on this base model what the mean changes; it is read as\n"
    "                           the options of models above say\n"
    "  --rank N                 of what becomes a plain LoRA because the format has no place for\n"
    "                           its form (LoHa, LoKr, DoRA, full differences) [64]\n"
    "  --dtype TYPE             float32, float16 or bfloat16 [as in the file]\n";

namespace {

/// What the command line asks for.
struct Order {
  ConceptFormat format = ConceptFormat::kMos;
  std::string only;
  std::optional<std::string> word, new_word;
  bool mean_rows = false;
  std::optional<std::string> base;
  checkpoint::ReadOptions read;
  std::int64_t rank = 64;
  std::optional<torch::ScalarType> dtype;
  KeyOptions keys;
};

void take_word(Flags& flags, Order& order) {
  const auto text = flags.take("word");
  if (!text) return;
  const auto equals = text->find('=');
  order.word = text->substr(0, equals);
  if (equals != std::string::npos) order.new_word = text->substr(equals + 1);
  if (order.word->empty() || (order.new_word && order.new_word->empty())) {
    throw Error(ErrorKind::kUsage,
                fmt::format("--word is \"{}\", expected WORD or WORD=NEW", *text));
  }
}

Order take_order(Flags& flags, const fs::path& out) {
  Order order;
  const auto to = flags.take("to");
  order.format = to ? concepts::concept_format(*to) : concepts::format_of_ending(out);
  order.only = flags.take("only").value_or("");
  if (!order.only.empty() && order.only != "words" && order.only != "lora") {
    throw Error(ErrorKind::kUsage,
                fmt::format("--only is \"{}\", expected words or lora", order.only));
  }
  take_word(flags, order);
  order.mean_rows = flags.take_switch("mean-rows");
  order.base = flags.take("base");
  read_flags(flags, order.read);
  if (const auto rank = flags.take("rank")) detail::parse_value("rank", *rank, order.rank);
  if (order.rank < 1) throw Error(ErrorKind::kUsage, "--rank must be a whole number from 1 on");
  if (const auto dtype = flags.take("dtype")) order.dtype = weights_dtype_named(*dtype);
  order.keys = take_key_options(flags);
  flags.refuse_unknown();
  return order;
}

/// The asked-for part of the concept.
void cut(ConceptDelta& delta, const Order& order) {
  if (order.only == "words") {
    delta.updates.clear();
  } else if (order.only == "lora") {
    delta.words.clear();
  }
  if (!order.word) return;
  const auto found = std::find_if(delta.words.begin(), delta.words.end(), [&](const auto& word) {
    return word.word == *order.word || (!word.alias.empty() && word.alias == *order.word);
  });
  if (found == delta.words.end()) {
    throw Error(ErrorKind::kUsage, fmt::format("there is no word {} in it; it has \"{}\"",
                                               *order.word, delta.phrase()));
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
void take_means(ConceptDelta& delta, const ConceptDelta& whole, const Order& order) {
  if (!order.mean_rows || !has_layerwise_rows(delta)) return;
  if (order.base) {
    auto base = diffusion::Model::load(*order.base, {.read = order.read});
    const auto change = concepts::measure_mean_rows(base, whole);
    fmt::print(
        "mean rows change the text features by {:.3g} %, the U-Net's prediction by {:.3g} %\n",
        100 * change.text, 100 * change.prediction);
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

/// In forms that the format holds; says what that costs.
ConceptDelta reduced(ConceptDelta delta, const Order& order) {
  const auto held = concepts::forms_held_by(order.format);
  if (held == concepts::HeldForms::kNone) return delta;
  std::optional<diffusion::Model> base;
  if (order.base && concepts::needs_base(held, delta)) {
    base = diffusion::Model::load(*order.base, {.read = order.read});
  }
  auto reduction =
      concepts::reduced_to(held, std::move(delta), order.rank, base ? &*base : nullptr);
  if (reduction.layers > 0) fmt::print("{}\n", concepts::cost_text(reduction, order.rank));
  return std::move(reduction.delta);
}

/// A1111 and ComfyUI call an embedding as its file.
void warn_of_other_name(const ConceptDelta& delta, const Order& order, const fs::path& out) {
  const bool by_file = order.format == ConceptFormat::kA1111 || order.format == ConceptFormat::kXti;
  if (!by_file || delta.words.front().word == out.stem().string()) return;
  log::warn(fmt::format("A1111 and ComfyUI will call this embedding {}, as its file, and not {}",
                        out.stem().string(), delta.words.front().word));
}

}  // namespace

int convert_concept(Flags& flags, const fs::path& in, const fs::path& out) {
  const auto order = take_order(flags, out);
  Outputs outputs;
  outputs.read("the concept", in);
  outputs.read("--base", order.base.value_or(""));
  outputs.write(FileOutput{.name = "--out", .path = out, .kind = concept_kind()});
  outputs.check();
  auto file = concepts::read_concept_file(in, order.keys.unexpected);
  log::info(fmt::format("{}: {}", in.string(), file.keys.summary()));
  if (order.keys.list) log::info(file.keys.listing());
  auto delta = file.delta;
  cut(delta, order);
  delta = reduced(std::move(delta), order);
  auto target = order.mean_rows ? concepts::with_mean_rows(delta) : delta;
  concepts::check_holds(order.format, target, out);
  take_means(delta, file.delta, order);
  if (order.dtype) cast(delta, *order.dtype, out);
  cancel_on_interrupt();  // what is being written is finished or goes
  concepts::write_concept(out, delta, order.format);
  warn_of_other_name(delta, order, out);
  fmt::print("{}\n", out.string());
  return 0;
}

}  // namespace mos::app
