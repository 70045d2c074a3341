#include "mos/base/text_distance.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mos {
namespace {

const std::vector<std::string> kOptions = {"steps", "scale", "rank", "unet_rate", "text_rate"};

TEST(Nearest, IsTheOneWithTheFewestEdits) {
  EXPECT_EQ(nearest("stesp", kOptions), "steps");  // two letters exchanged
  EXPECT_EQ(nearest("unet-rate", kOptions), "unet_rate");
  EXPECT_EQ(nearest("txt_rate", kOptions), "text_rate");
  EXPECT_EQ(nearest("steps", kOptions), "steps");
}

TEST(Nearest, IsNothingWhereEverythingIsFar) {
  EXPECT_EQ(nearest("guidance", kOptions), "");
  EXPECT_EQ(nearest("steps", {}), "");
  EXPECT_EQ(nearest("a", {"bcdef"}), "");
  EXPECT_EQ(nearest("foo", {"from", "mode"}),
            "");  // as short as that, two letters are another word
  EXPECT_EQ(nearest("form", {"from"}), "from");
}

TEST(DidYouMean, IsTheEndOfASentenceOrNothing) {
  EXPECT_EQ(did_you_mean("stpes", kOptions), "; did you mean 'steps'?");
  EXPECT_EQ(did_you_mean("completely else", kOptions), "");
}

}  // namespace
}  // namespace mos
