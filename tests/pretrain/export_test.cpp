#include "mos/pretrain/export.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace mos::pretrain {
namespace {

/// What stands in the way of an export of a training that has not begun.
std::string obstacle(const std::filesystem::path& target) {
  const TempDir nothing_trained;
  try {
    export_base(nothing_trained.path(), {.to = target.string()});
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ExportBase, MayTakeThePlaceOfAnEarlierExportAndOfNothingElse) {
  const TempDir folder;
  for (const char* part :
       {"adapters", "judge", "scheduler", "text_encoder", "tokenizer", "unet", "vae"}) {
    make_folders(folder / "base" / part);
  }
  for (const char* file :
       {"model_index.json", "training_record.json", "contact_sheet.png", "tune_defaults.json"}) {
    write_text_file(folder / "base" / file, "{}");
  }
  EXPECT_THAT(obstacle(folder / "base"), testing::HasSubstr("tokenizer"));

  write_text_file(folder / "base" / "thesis.tex", "");
  EXPECT_THAT(obstacle(folder / "base"), testing::HasSubstr("thesis.tex"));
}

}  // namespace
}  // namespace mos::pretrain
