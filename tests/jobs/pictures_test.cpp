#include "mos/jobs/pictures.h"

#include <gmock/gmock.h>

#include <filesystem>

#include "mos/base/random.h"
#include "mos/io/image.h"
#include "tests/support/temp_dir.h"

namespace mos::jobs {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::Not;

constexpr std::array kSamples = {"azure", "dawn", "lavender", "racer", "teddy", "wizard"};

fs::path sample(const std::string& name) {
  return fs::path(MOS_SOURCE_DIR "/base/concepts") / name;
}

class LookAtPictures : public testing::Test {
 protected:
  LookAtPictures() { fs::create_directories(folder_ / "images"); }

  void put(const std::string& name, const torch::Tensor& pixels) {
    io::write_png(folder_ / "images" / (name + ".png"),
                  pixels.round().clamp(0, 255).to(torch::kUInt8).contiguous());
  }
  Json look() { return look_at_pictures({.data = folder_ / "", .size = 128}).at("pictures"); }
  static std::vector<std::string> flags(const Json& picture) {
    return picture.at("flags").get<std::vector<std::string>>();
  }

  TempDir folder_;
};

TEST_F(LookAtPictures, ACopyIsADuplicateHoweverItWasStored) {
  for (const char* name : kSamples) {
    const auto pixels = io::read_image(sample(name) / "images/03.png").pixels.to(torch::kFloat32);
    at::Generator generator = seeded_generator(7);
    put("0", pixels);
    put("1", pixels + 6 * randn(pixels.sizes(), generator));  // as a JPEG of low quality has it
    put("2", io::resize_area(pixels, 96, 96));
    put("3", pixels.repeat_interleave(2, 0).repeat_interleave(2, 1));
    const auto seen = look();
    EXPECT_TRUE(seen[0].at("duplicate_of").is_null());
    for (const std::size_t copy : {1, 2, 3}) {
      EXPECT_EQ(seen[copy].at("duplicate_of"), "0") << name << copy;
      EXPECT_THAT(flags(seen[copy]), Contains("duplicate"));
    }
  }
}

TEST_F(LookAtPictures, OtherPicturesOfTheSameConceptAreNone) {
  for (const char* name : kSamples) {
    const auto seen = look_at_pictures({.data = sample(name).string(), .size = 128});
    for (const auto& picture : seen.at("pictures")) {
      EXPECT_TRUE(picture.at("duplicate_of").is_null()) << name << picture.at("name");
    }
  }
}

TEST_F(LookAtPictures, BlurAndSizeAreFlagged) {
  const auto pixels = io::read_image(sample("racer") / "images/03.png").pixels.to(torch::kFloat32);
  const auto coarse = io::resize_area(pixels, 8, 8).permute({2, 0, 1}).unsqueeze(0);
  const auto smooth = torch::upsample_bicubic2d(coarse, {128, 128}, false)[0].permute({1, 2, 0});
  put("blurred", smooth);
  put("sharp", pixels);
  put("tiny", io::resize_area(pixels, 32, 32));
  const auto seen = look();
  EXPECT_THAT(flags(seen[0]), Contains("blurred"));
  EXPECT_THAT(flags(seen[1]), Not(Contains("blurred")));
  EXPECT_THAT(flags(seen[1]), Not(Contains("small")));
  EXPECT_THAT(flags(seen[2]), Contains("small"));
}

}  // namespace
}  // namespace mos::jobs
