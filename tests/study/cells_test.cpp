#include "mos/study/cells.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/base/log.h"
#include "tests/base/places.h"
#include "tests/support/temp_dir.h"

namespace mos::study {
namespace {

namespace fs = std::filesystem;
using State = CellStore::State;
using ::testing::HasSubstr;

Cell cell(std::int64_t steps, const std::string& wish = "ed_lora") {
  return {.kind = "tune",
          .name = "genie ed_lora",
          .wish = {{"method", wish}},
          .basis = {{"options", {{"steps", steps}, {"batch", 2}}}, {"base", "abc"}}};
}

class Cells : public ::testing::Test {
 protected:
  /// Makes the cell and counts how often that was asked for.
  fs::path get(const Cell& wanted, const std::string& content) {
    return store_.get(wanted, [&](const fs::path& folder) {
      ++made_;
      write_text_file(folder / "result.txt", content);
    });
  }

  TempDir folder_;
  CellStore store_{folder_ / "cells"};
  int made_ = 0;
};

TEST_F(Cells, AreMadeOnce) {
  EXPECT_EQ(store_.state(cell(300)), State::kMissing);
  const auto place = get(cell(300), "first");
  EXPECT_EQ(store_.state(cell(300)), State::kDone);
  EXPECT_EQ(get(cell(300), "second"), place);
  EXPECT_EQ(made_, 1);
  EXPECT_EQ(read_text_file(place / "result.txt"), "first");
}

TEST_F(Cells, WithOtherOptionsAreMadeAnewAndThatIsSaid) {
  get(cell(300), "first");
  EXPECT_EQ(store_.state(cell(600)), State::kOutdated);
  std::string said;
  const log::ScopedSink sink([&](log::Level, std::string_view message) { said += message; });
  const auto place = get(cell(600), "second");
  EXPECT_EQ(made_, 2);
  EXPECT_EQ(read_text_file(place / "result.txt"), "second");
  EXPECT_THAT(said, HasSubstr("made anew: tune genie ed_lora, whose steps was 300 and is 600"));
}

TEST_F(Cells, OfAnotherWishStandBesideEachOther) {
  const auto one = get(cell(300), "first"), other = get(cell(300, "lora"), "second");
  EXPECT_NE(one, other);
  EXPECT_EQ(store_.state(cell(300)), State::kDone);
}

TEST_F(Cells, ThatFailLeaveWhatWasThere) {
  const auto place = get(cell(300), "first");
  EXPECT_THROW(store_.get(cell(600),
                          [](const fs::path& folder) {
                            write_text_file(folder / "result.txt", "half");
                            throw Error(ErrorKind::kCancelled, "stopped");
                          }),
               Error);
  EXPECT_EQ(read_text_file(place / "result.txt"), "first");
  EXPECT_EQ(store_.state(cell(300)), State::kDone);
}

TEST_F(Cells, NeverReplaceWhatIsNoCell) {
  const auto place = store_.place_of(cell(300));
  make_folders(place);
  write_text_file(place / "diary.txt", "mine");
  EXPECT_THAT(test::error_of(ErrorKind::kUsage, [&] { get(cell(300), "first"); }),
              HasSubstr("it is no cell of a study"));
  EXPECT_EQ(read_text_file(place / "diary.txt"), "mine");
}

TEST(Differences, AreTheFirstFewInTheWordsOfTheirKeys) {
  const Json before = {{"a", 1}, {"b", {{"c", "x"}, {"d", 2}}}};
  const Json now = {{"a", 1}, {"b", {{"c", "y"}}}, {"e", true}};
  EXPECT_EQ(differences(before, now),
            "c was \"x\" and is \"y\"; d was 2 and is gone; e was not there and is true");
}

}  // namespace
}  // namespace mos::study
