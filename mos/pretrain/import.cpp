#include "mos/pretrain/import.h"

#include <fmt/core.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/pretrain/data.h"
#include "mos/pretrain/export.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"

namespace mos::pretrain {

namespace fs = std::filesystem;

namespace {

/// A network and the configuration beside it, as the stage in folder `stage` leaves them.
void import_network(const fs::path& weights, const fs::path& stage) {
  const auto target = stage / "model.safetensors";
  if (fs::exists(target)) {
    throw Error(ErrorKind::kUsage,
                fmt::format("{} has been trained here; choose another --out", stage.string()));
  }
  make_folders(stage);
  write_json(stage / "config.json", read_json_file(weights.parent_path() / "config.json"));
  // The weights last: they say that the stage is finished.
  write_text_file(target, read_whole_file(weights));
}

/// Latents and captions mean the same only in the same words.
void check_same_tokens(const fs::path& from, const fs::path& base) {
  const auto vocabulary = [](const fs::path& model) {
    return read_json_file(model / "tokenizer" / "vocab.json");
  };
  const auto merges = [](const fs::path& model) {
    return read_text_file(model / "tokenizer" / "merges.txt");
  };
  if (vocabulary(from) == vocabulary(base) && merges(from) == merges(base)) return;
  throw Error(ErrorKind::kMismatch,
              fmt::format("{} was trained on captions of other words than those of {}: their "
                          "tokenizers differ; choose the same world in `mos pretrain data`",
                          from.string(), base.string()));
}

}  // namespace

void import_base(const fs::path& base, const ImportOptions& options) {
  if (options.from.empty()) {
    throw Error(ErrorKind::kUsage, "mos pretrain import needs --from, the base to go on from");
  }
  const Dataset data(base);
  const fs::path from = options.from;
  check_same_tokens(from, base);
  import_network(from / weights_file(checkpoint::Part::kVae), base / "vae");
  import_network(from / kJudgeFolder / "model.safetensors", base / folder_of(TowerRole::kJudge));
  write_json(base / kFormerRecordFile, read_json_file(from / kRecordFile));
}

}  // namespace mos::pretrain
