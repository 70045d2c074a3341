#include "mos/pretrain/export.h"

#include <fmt/core.h>

#include <fstream>
#include <optional>

#include "mos/base/directory.h"
#include "mos/base/file.h"
#include "mos/base/json.h"
#include "mos/checkpoint/checkpoint.h"
#include "mos/checkpoint/part.h"
#include "mos/checkpoint/parts.h"
#include "mos/diffusion/latent_preview.h"
#include "mos/io/safetensors.h"
#include "mos/pretrain/adapter_training.h"
#include "mos/pretrain/average.h"
#include "mos/pretrain/sampling.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"

namespace mos::pretrain {

using checkpoint::Part;
namespace {

constexpr auto kExported = torch::kFloat16;
constexpr const char* kSheetFile = "contact_sheet.png";
constexpr const char* kAdaptersFolder = "adapters";

void write_model(const std::filesystem::path& folder, const std::string& file,
                 const torch::nn::Module& module, const Json& config) {
  make_folders(folder);
  io::StateDict stored;
  // Half the size; what is painted is computed in bfloat16 or float32 from it.
  for (const auto& [name, tensor] : io::state_dict_of(module)) stored[name] = tensor.to(kExported);
  io::save_safetensors(folder / file, stored, {{"format", "pt"}});
  write_json(folder / "config.json", config);
}

/// The measured lines of a training's log and its last line.
Json log_summary(const std::filesystem::path& path) {
  Json lines = Json::array();
  std::ifstream stream(path);
  Json last;
  for (std::string text; std::getline(stream, text);) {
    last = parse_json(text, path.string());
    const bool measured = last.size() > 5;  // step, loss, norm, rate, time and something more
    if (measured) lines.push_back(last);
  }
  if (!last.is_null() && (lines.empty() || lines.back() != last)) lines.push_back(last);
  return lines;
}

/// The options of a stage. A path of the machine that trained it says nothing elsewhere: of the
/// base that it went on from the name remains, whose own record is `former`.
Json recorded_options(const std::filesystem::path& file) {
  auto options = read_json_file(file);
  options.erase("sprites");
  if (const auto from = options.find("start_from"); from != options.end()) {
    const auto path = std::filesystem::path(from->get<std::string>()).lexically_normal();
    *from = path.filename().string();
  }
  return options;
}

Json stage_record(const std::filesystem::path& folder) {
  Json record = {{"steps_done", checkpoint_step(folder)}};
  const auto options = options_of_stage(folder);
  if (std::filesystem::exists(options)) record["options"] = recorded_options(options);
  record["measurements"] = log_summary(folder / "log.jsonl");
  return record;
}

Json training_record(const std::filesystem::path& base) {
  Json record = Json::object();
  record["data"] = recorded_options(options_of_stage(base / "data"));
  for (const char* stage : {"vae", "vae_decoder", "towers", "judge", "unet"}) {
    if (std::filesystem::exists(base / stage)) record[stage] = stage_record(base / stage);
  }
  for (const auto kind : trained_adapters(base)) {
    const auto folder = adapter_folder(base, kind);
    record[folder.filename().string()] = stage_record(folder);
  }
  if (const auto share = share_of_training(base); share < 1.0) record["average"]["share"] = share;
  const auto former = base / kFormerRecordFile;
  if (std::filesystem::exists(former)) record["former"] = read_json_file(former);
  const auto acceptance = base / "acceptance.json";
  if (std::filesystem::exists(acceptance)) record["acceptance"] = read_json_file(acceptance);
  return record;
}

}  // namespace

std::filesystem::path weights_file(Part part) {
  const auto& row = checkpoint::row_of(part);
  return std::filesystem::path(row.folder) / fmt::format("{}.safetensors", row.weights);
}

std::filesystem::path export_base(const std::filesystem::path& base, const ExportOptions& options) {
  const auto target = options.to.empty() ? base / "export" : std::filesystem::path(options.to);
  std::optional<Json> tune_defaults;
  if (!options.tune_defaults.empty()) tune_defaults = read_json_file(options.tune_defaults);
  const FolderCheck may_replace = [](const std::filesystem::path& former) {
    checkpoint::check_model_folder(
        former, {kAdaptersFolder, kJudgeFolder, kRecordFile, kSheetFile,
                 checkpoint::kTuneDefaultsFile, checkpoint::kSampleDefaultsFile});
  };
  check_folder_target(target, Existing::kReplace, may_replace);
  AtomicDirectory directory(target, Existing::kReplace, may_replace);
  const auto& out = directory.path();
  const auto tokenizer = text::CLIPTokenizer::from_directory(base / "tokenizer");
  write_model(out / kJudgeFolder, "model.safetensors", *load_towers(base, TowerRole::kJudge),
              read_json_file(base / "judge" / "config.json"));
  tokenizer.save(out / kJudgeFolder);
  const auto write_network = [&](Part part, const torch::nn::Module& network, const char* config) {
    const auto file = weights_file(part);
    write_model(out / file.parent_path(), file.filename(), network, read_json_file(base / config));
  };
  write_network(Part::kTextEncoder, *load_text_tower(base, torch::kFloat32).encoder,
                "unet/text_config.json");
  const auto vae = load_vae(base);
  write_network(Part::kVae, *vae, "vae/config.json");
  write_json(out / checkpoint::kLatentColoursFile, diffusion::fit_latent_colours(vae).to_json());
  write_network(Part::kUNet, *load_unet(base, torch::kFloat32), "unet/config.json");
  for (const auto kind : trained_adapters(base)) {
    const auto adapter = load_adapter(base, kind, torch::kFloat32);
    write_model(out / kAdaptersFolder / name_of(kind), "diffusion_pytorch_model.safetensors",
                *adapter, adapter->config().to_json());
  }
  make_folders(out / "scheduler");
  write_json(out / "scheduler" / "scheduler_config.json",
             read_json_file(base / "unet" / "scheduler_config.json"));
  tokenizer.save(out / "tokenizer");
  write_json(out / "model_index.json",
             checkpoint::model_index_of(read_json_file(base / "unet" / "scheduler_config.json")));
  write_json(out / checkpoint::kSampleDefaultsFile,
             {{"guidance_scale", kGuidance}, {"perturbed_attention", kPerturbed}});
  write_json(out / kRecordFile, training_record(base));
  const auto sheet = base / "acceptance.png";
  if (std::filesystem::exists(sheet)) {
    std::filesystem::copy_file(sheet, out / kSheetFile);
  }
  if (tune_defaults) write_json(out / checkpoint::kTuneDefaultsFile, *tune_defaults);
  directory.commit();
  return target;
}

}  // namespace mos::pretrain
