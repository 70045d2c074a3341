#include "mos/eval/picture_input.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/base/places.h"
#include "tests/support/temp_dir.h"

namespace mos::eval {
namespace {

using ::testing::HasSubstr;

/// 7 x 11, as Pillow was given it.
torch::Tensor lines() {
  auto picture = torch::empty({7, 11, 3}, torch::kUInt8);
  for (std::int64_t y = 0; y < 7; ++y) {
    for (std::int64_t x = 0; x < 11; ++x) {
      const bool line = x == 3 || y == 2 || x == y + 4;
      picture[y][x].fill_(line ? 255 : (x * 37 + y * 91) % 64);
    }
  }
  return picture;
}

/// float32 [3,…] of grey levels, normalised by `input`.
torch::Tensor normalised(const torch::Tensor& levels, const PictureInput& input) {
  std::vector<torch::Tensor> channels;
  for (std::size_t c = 0; c < 3; ++c) {
    channels.push_back((levels.to(torch::kFloat32) / 255.0 - input.mean[c]) / input.deviation[c]);
  }
  return torch::stack(channels);
}

TEST(TowerPixels, AreThoseOfClipsOwnCode) {
  // Pillow 13.0: resize((6, 4), Image.BICUBIC), as the shorter side of 7 x 11 becomes 4 and
  // int(11 * 4 / 7) is 6; then columns 1 to 4 of these.
  const auto middle = torch::tensor(
      {{109, 197, 66, 19}, {191, 188, 188, 180}, {116, 65, 27, 137}, {114, 86, 6, 41}});
  const auto input = clip_input(4);
  const auto pixels = tower_pixels(lines(), input);
  ASSERT_EQ(pixels.sizes(), (std::vector<std::int64_t>{3, 4, 4}));
  const double one_level = 1.01 / 255.0 / 0.26;  // Pillow's weights are whole numbers
  EXPECT_LE((pixels - normalised(middle, input)).abs().max().item<double>(), one_level);
}

TEST(TowerPixels, OfOurOwnTowersAreMeansOfAreas) {
  auto picture = torch::zeros({4, 8, 3}, torch::kUInt8);
  picture.slice(1, 2, 6).fill_(255);  // white in the middle, black at the sides
  PictureInput input = clip_input(2);
  input.resampling = Resampling::kArea;
  const auto pixels = tower_pixels(picture, input);
  EXPECT_NEAR(pixels[0][0][0].item<double>(), (1.0 - 0.48145466) / 0.26862954, 1e-5);
  EXPECT_NEAR(pixels[2][1][1].item<double>(), (1.0 - 0.40821073) / 0.27577711, 1e-5);
}

TEST(TowerPixels, OfDinoAreCutOutOfALargerPicture) {
  const auto pixels = tower_pixels(torch::full({300, 500, 3}, 128, torch::kUInt8), dino_input(224));
  ASSERT_EQ(pixels.sizes(), (std::vector<std::int64_t>{3, 224, 224}));
  EXPECT_NEAR(pixels[0][7][9].item<double>(), (128.0 / 255.0 - 0.485) / 0.229, 1e-5);
}

TEST(InputOfFolder, ReadsWhatBothAgesOfTransformersWrite) {
  const TempDir folder;
  const auto path = folder / "preprocessor_config.json";
  EXPECT_EQ(input_of_folder(folder.path(), clip_input(8)).resized_to, 0);  // there is none

  write_text_file(path, R"({"size": 10, "crop_size": 8, "do_center_crop": true, "resample": 2,
      "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1]})");
  const auto old = input_of_folder(folder.path(), clip_input(8));
  EXPECT_EQ(old.resized_to, 10);
  EXPECT_EQ(old.resampling, Resampling::kBilinear);
  EXPECT_EQ(old.deviation[0], 0.25);

  write_text_file(path, R"({"size": {"height": 8, "width": 8}, "resample": 3})");
  const auto whole = input_of_folder(folder.path(), dino_input(8));
  EXPECT_FALSE(whole.cuts_middle);
  const auto pixels = tower_pixels(lines(), whole);
  EXPECT_EQ(pixels.sizes(), (std::vector<std::int64_t>{3, 8, 8}));
}

TEST(InputOfFolder, RefusesWhatTheTowerDoesNotSee) {
  const TempDir folder;
  const auto path = folder / "preprocessor_config.json";
  const auto said = [&](const char* text) {
    write_text_file(path, text);
    return test::error_of(ErrorKind::kFormat,
                          [&] { input_of_folder(folder.path(), clip_input(8)); });
  };
  EXPECT_THAT(said(R"({"size": 16, "crop_size": 16})"), HasSubstr("16 pixels wide, but the tower"));
  EXPECT_THAT(said(R"({"size": 8, "crop_size": 8, "resample": 7})"),
              HasSubstr("\"resample\" is 7"));
  EXPECT_THAT(said(R"({"size": {"height": 8, "width": 9}})"), HasSubstr("expected one side"));
  EXPECT_THAT(said(R"({"size": 8, "crop_size": 8, "image_std": [0, 1, 1]})"), HasSubstr("above 0"));
}

TEST(TowerPixels, RefusesPicturesThatAreNearlyLines) {
  const auto input = clip_input(8);
  for (const auto& [height, width] : {std::pair{1, 16000}, {16000, 1}, {2, 101}}) {
    EXPECT_THROW(tower_pixels(torch::zeros({height, width, 3}, torch::kUInt8), input), Error);
  }
  EXPECT_NO_THROW(tower_pixels(torch::zeros({2, 100, 3}, torch::kUInt8), input));
}

}  // namespace
}  // namespace mos::eval
