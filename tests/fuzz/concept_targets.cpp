#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/base/text.h"
#include "mos/concepts/concept_file.h"
#include "mos/concepts/concept_writer.h"
#include "mos/concepts/describe.h"
#include "mos/concepts/lora_file.h"
#include "mos/concepts/peft_config.h"
#include "mos/concepts/tokens.h"
#include "mos/concepts/training_metadata.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_writer.h"
#include "tests/fuzz/fuzz.h"

namespace mos::fuzz {
namespace {

using enum mos::checkpoint::Part;

using namespace concepts;

constexpr const char* kQuery = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";
constexpr const char* kConv = "mid_block.resnets.0.conv1";
constexpr const char* kText = "text_model.encoder.layers.0.mlp.fc1";

// ---- Concept files ----

/// The file that was written from what was read is written again as the same bytes.
void check_format(const ConceptDelta& delta, ConceptFormat format, const std::string& name) {
  const auto first = scratch_folder() / name, second = scratch_folder() / ("again-" + name);
  try {
    write_concept(first, delta, format);
  } catch (const Error&) {
    return;  // not everything fits into every format
  }
  write_concept(second, load_concept(first), format);
  promise(read_text_file(first) == read_text_file(second),
          fmt::format("a concept written twice as {} is not the same bytes", name));
}

void run_concept(std::string_view bytes) {
  const auto path = scratch_file("concept", bytes);
  if (const auto report = describe_concept(io::read_tensor_file(path))) report->dump();
  const auto file = read_concept_file(path, UnexpectedKeys::kLeaveOut);
  for (const auto& word : file.delta.words) {
    promise(!word.word.empty(), "a word without a text");
    promise(is_utf8(word.word), "a word that is not UTF-8");
    promise(word.layers() * word.vectors == word.rows.count(), "rows that are not whole words");
  }
  file.keys.listing();
  check_format(file.delta, ConceptFormat::kMos, "c.safetensors");
  check_format(file.delta, ConceptFormat::kKohya, "k.safetensors");
  check_format(file.delta, ConceptFormat::kPeft, "p.safetensors");
  check_format(file.delta, ConceptFormat::kOfficial, "o.pth");
}

ConceptDelta seed_concept() {
  const auto counted = [](at::IntArrayRef shape) {
    return torch::arange(1.0, 1.0 + static_cast<double>(c10::multiply_integers(shape)))
        .view(shape)
        .to(torch::kFloat32);
  };
  ConceptDelta delta;
  delta.words = {{"<a1>", counted({2, 4})}, {"<a2>", counted({4, 4}), 2}};
  delta.updates[kUNet][kQuery] = LowRank{counted({3, 8}), counted({8, 3}), 1.0 / 3.0};
  delta.updates[kUNet][kConv] = LowRank{counted({2, 4, 3, 3}), counted({4, 2, 1, 1}), 0.7};
  delta.updates[kTextEncoder][kText] = LowRank{counted({3, 6}), counted({24, 3}), 1.0};
  delta.metadata["modelspec.title"] = "a";
  return delta;
}

std::vector<std::string> concept_seeds() {
  std::vector<std::string> seeds;
  const auto add = [&](const char* name, const ConceptDelta& delta, ConceptFormat format) {
    const auto path = scratch_folder() / name;
    write_concept(path, delta, format);
    seeds.push_back(read_text_file(path));
  };
  const auto whole = seed_concept();
  auto lora = whole, word = whole;
  lora.words.clear();
  word.words.resize(1);
  word.words[0].vectors = word.words[0].rows.count();
  word.updates.clear();
  add("seed.safetensors", whole, ConceptFormat::kMos);
  add("seed.pth", whole, ConceptFormat::kOfficial);
  add("seed-kohya.safetensors", lora, ConceptFormat::kKohya);
  add("seed-peft.safetensors", lora, ConceptFormat::kPeft);
  add("seed-diffusers.safetensors", lora, ConceptFormat::kDiffusers);
  add("seed-a1111.pt", word, ConceptFormat::kA1111);
  add("seed-a1111.safetensors", word, ConceptFormat::kA1111);
  add("seed-ti.bin", word, ConceptFormat::kTextualInversion);
  return seeds;
}

/// As for every file of its format (see file_targets.cpp).
std::string repair_concept(const std::string& bytes) {
  const bool is_archive = bytes.starts_with("PK\3\4");
  const bool is_safetensors = bytes.size() > 8 && bytes[8] == '{';
  const std::string_view format = is_archive ? "torch_file" : "safetensors";
  for (const auto& target : file_targets()) {
    if ((is_archive || is_safetensors) && target.name == format) return target.repair(bytes);
  }
  return bytes;
}

// ---- Keys ----

/// Every line is a key; what is one comes back from writing it.
void run_lora_key(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto line = bytes.substr(0, bytes.find('\n'));
    bytes.remove_prefix(std::min(bytes.size(), line.size() + 1));
    foreign_kind(line);
    auto key = parse_lora_key(line);
    if (!key) continue;
    key->adapter.clear();
    for (const auto dialect : {key->dialect, LoraDialect::kOfficial, LoraDialect::kKohya,
                               LoraDialect::kDiffusers, LoraDialect::kPeft}) {
      key->dialect = dialect;
      std::string written;
      try {
        written = format_lora_key(*key);
      } catch (const Error&) {
        continue;  // a part without a name there, or a layer that kohya's tells from no other
      }
      promise(parse_lora_key(written) == key, "a key does not survive writing and reading");
    }
  }
}

std::vector<std::string> lora_key_seeds() {
  std::string all;
  for (const auto dialect :
       {LoraDialect::kOfficial, LoraDialect::kKohya, LoraDialect::kDiffusers, LoraDialect::kPeft}) {
    for (const auto& [key, tensor] : lora_tensors(seed_concept(), dialect)) all += key + "\n";
  }
  return {all,
          "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down."
          "weight\nbase_model.model.text_model.encoder.layers.0.self_attn.q_proj.lora_A.weight\n"
          "lora_te_text_model_encoder_layers_0_mlp_fc1.hada_w1_a\n"};
}

// ---- Metadata ----

/// The bytes as each entry of a file's metadata, and as the words of a model.
void run_metadata(std::string_view bytes) {
  const std::string text(bytes);
  const std::map<std::string, std::string> metadata = {
      {"ss_tag_frequency", text}, {"modelspec.title", text}, {kAdapterMetadata, text}};
  trained_phrases(metadata, 3);
  training_summary(metadata);
  const auto attempt = [](const auto& action) {
    try {
      action();
    } catch (const Error&) {
    }
  };
  attempt([&] {
    io::save_safetensors(scratch_folder() / "m.safetensors",
                         lora_tensors(seed_concept(), LoraDialect::kPeft),
                         {{kAdapterMetadata, text}});
    read_concept_file(scratch_folder() / "m.safetensors");
  });
  attempt([&] {
    io::save_safetensors(scratch_folder() / "w.safetensors",
                         {{"new_concept_embedding/<a>", torch::ones({1, 4})}}, {{"words", text}});
    read_concept_file(scratch_folder() / "w.safetensors");
  });
  const auto tokens = ConceptTokens::from_json(parse_json(text, "input"), 2);
  tokens.bind("a photo of <a1> and <a2>");
  promise(ConceptTokens::from_json(tokens.to_json(), 2).to_json() == tokens.to_json(),
          "the words of a model do not come back");
}

std::vector<std::string> metadata_seeds() {
  return {R"({"10_dog":{"sks dog":10,"a":2},"5_x":{"a":9,"sks dog":4}})", R"(["<a1>", "<a2>"])",
          R"({"<a1>":{"concept_token_ids":[10,11],"concept_token_names":["<new0>","<new1>"]},
              "<a2>":{"concept_token_ids":[12],"concept_token_names":["<new2>"],"vectors":1}})",
          R"({"unet.r":3,"unet.lora_alpha":1.5,"unet.alpha_pattern":{"to_q":2.0},
              "unet.rank_pattern":{"^mid_block.*":4},"unet.use_rslora":true})"};
}

}  // namespace

std::vector<Target> concept_targets() {
  const std::vector<std::string> key_words = {"lora_unet_",
                                              "lora_te_",
                                              "unet.",
                                              "unet/",
                                              "text_encoder.",
                                              "text_encoder/",
                                              "base_model.model.",
                                              ".lora_down.weight",
                                              ".lora_up.weight",
                                              ".lora_mid.weight",
                                              ".alpha",
                                              ".lora_A.weight",
                                              ".lora_B.weight",
                                              ".lora_A.default.weight",
                                              ".lora.down.weight",
                                              ".lora_linear_layer.down.weight",
                                              "_lora.down.weight",
                                              ".processor",
                                              ".to_out",
                                              ".to_q",
                                              "down_blocks",
                                              "mid_block",
                                              "text_model",
                                              "_",
                                              ".",
                                              "\n",
                                              "self_attn",
                                              "to_out.0",
                                              "new_concept_embedding/",
                                              "emb_params",
                                              "string_to_param.*",
                                              "bundle_emb.",
                                              "IN01",
                                              "params/",
                                              "\"__metadata__\":{\"words\":\"[]\"},",
                                              "lora_adapter_metadata",
                                              "<a1>"};
  const std::vector<std::string> metadata_words = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   ",",
                                                   ":",
                                                   "\"",
                                                   "\"unet.\"",
                                                   "\"alpha_pattern\":",
                                                   "\"rank_pattern\":",
                                                   "\"use_rslora\":",
                                                   "\"lora_alpha\":",
                                                   "\"r\":",
                                                   "(a+)+$",
                                                   ".*",
                                                   "\\\\d",
                                                   "[^.]",
                                                   "(?:",
                                                   "|",
                                                   "^",
                                                   "\"concept_token_ids\":",
                                                   "\"vectors\":"};
  return {{"concept", run_concept, concept_seeds, key_words, repair_concept},
          {"lora_key", run_lora_key, lora_key_seeds, key_words},
          {"metadata", run_metadata, metadata_seeds, metadata_words}};
}

}  // namespace mos::fuzz
