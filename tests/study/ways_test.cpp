#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/base/random.h"
#include "mos/study/study.h"
#include "tests/study/drawn_concept.h"
#include "tests/support/tiny_judge.h"

/// Every way to tune, to merge and to paint that a whole study has a row for, on a model that
/// computes in milliseconds: a row that cannot be made would show after hours otherwise.
namespace mos::study {
namespace {

using ::testing::IsEmpty;

namespace fs = std::filesystem;

/// The tiny model with room for what distillation has its lessons called.
void save_base(const fs::path& base) {
  constexpr int kTokens = 24;
  const TempDir words, judged;
  tiny::tokenizer().save(words.path());
  write_text_file(words / "tokenizer_config.json", Json{{"model_max_length", kTokens}}.dump());
  auto settings = tiny::settings();
  settings.configs.at(checkpoint::Part::kTextEncoder)["max_position_embeddings"] = kTokens;
  auto model =
      diffusion::Model::create(text::CLIPTokenizer::from_directory(words.path()), settings);
  auto generator = seeded_generator(1);
  tiny::fill_randomly(*model.towers[0].encoder, generator);
  tiny::fill_randomly(*model.vae, generator);
  tiny::fill_randomly(*model.unet, generator);
  model.save(base);
  tiny::save_with_judge(judged / "base");
  fs::copy(judged / "base" / "judge", base / "judge", fs::copy_options::recursive);
}

class EveryWay : public ::testing::Test {
 protected:
  EveryWay() {
    save_base(folder_ / "base");
    const Json few = {{"prior", 2}, {"prior_steps", 2}, {"rare_word", "cat"}};
    auto cones = few;
    cones["neuron_threshold"] = 1e-9;  // whatever two steps come to
    const Json methods = {
        {"custom_diffusion", few}, {"dreambooth", few}, {"svdiff", few}, {"cones", cones}};
    write_text_file(folder_ / "base" / "tune_defaults.json", Json{{"methods", methods}}.dump());
    write_text_file(folder_ / "prompts.txt", "a <TOK>\n");
    for (const char* name : {"aa", "bb"}) draw_concept(folder_ / "concepts", name, 1);
  }

  StudyOptions options(const std::string& part) const {
    return {.base = (folder_ / "base").string(),
            .concepts = {(folder_ / "concepts").string()},
            .prompts = (folder_ / "prompts.txt").string(),
            .out = (folder_ / "out").string(),
            .parts = {part},
            .prompts_each = 1,
            .pictures = 1,
            .tune_seeds = 1,
            .tune_steps = 2,
            .steps = 2};
  }

  void expect_figures(const std::string& part) const {
    const auto report = run(options(part));
    for (const auto& table : report.tables) {
      for (const auto& row : table.rows) {
        EXPECT_THAT(row.failed, IsEmpty()) << row.name;
        EXPECT_EQ(row.figures.empty(), !row.left_out.empty()) << row.name;
      }
    }
  }

  TempDir folder_;
};

TEST_F(EveryWay, ToTuneHasFigures) { expect_figures("table1"); }

TEST_F(EveryWay, ToPaintSeveralHasFigures) { expect_figures("regions"); }

}  // namespace
}  // namespace mos::study
