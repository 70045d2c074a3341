#include "mos/jobs/picture_requests.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "mos/session/picture_record.h"
#include "mos/tune/plan.h"
#include "tests/support/temp_dir.h"

namespace mos {
namespace {

std::vector<std::string> keys_of(const Json& object) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.push_back(key);
  return keys;
}

TEST(PictureRequests, EveryMethodIsToldInALine) {
  const auto answer = jobs::answer_request({{"do", "methods"}});
  const auto& help = answer.at("help");
  EXPECT_EQ(keys_of(help.at("fuse")), keys_of(answer.at("fuse")));
  EXPECT_EQ(help.at("tune").size(), tune::method_names().size());
  for (const auto& name : tune::method_names()) {
    EXPECT_FALSE(help.at("tune").at(name).get<std::string>().empty()) << name;
  }
  for (const auto& [name, line] : help.at("fuse").items()) {
    EXPECT_FALSE(line.get<std::string>().empty()) << name;
  }
}

TEST(PictureRequests, WhatAnotherProgramSaysInVainIsListed) {
  const TempDir folder;
  const auto file = (folder / "picture.png").string();
  io::write_png(file, torch::zeros({16, 16, 3}, torch::kUInt8),
                {{"parameters",
                  "a cat\nSteps: 9, Sampler: Euler, Size: 16x16, Model: dream, "
                  "Tiling: True"}});
  const auto answer = jobs::answer_request({{"do", "record"}, {"file", file}});
  EXPECT_EQ(answer.at("options").at("steps"), 9);
  EXPECT_EQ(answer.at("left_out"), Json::array({"Tiling: True", "the model dream"}));
}

TEST(PictureRequests, WhatAModelMayWishOtherwiseIsAlwaysTold) {
  const TempDir folder;
  write_text_file(folder / "sample_defaults.json",
                  R"({"guidance_scale": 2.0, "perturbed_attention": 0.3, "clip_skip": 2})");
  session::PictureRecord record;
  record.program = record.libtorch = "1";
  record.base = folder.path().string();
  record.read.prediction_type = "v_prediction";
  record.device = "cpu";
  record.dtype = "float32";
  record.scene.prompt = "a cat";
  record.scene.canvas = region::Canvas{16, 16};
  const auto file = (folder / "picture.png").string();
  const auto options_of_file = [&] {
    return jobs::answer_request({{"do", "record"}, {"file", file}}).at("options");
  };
  session::write_picture(file, torch::zeros({16, 16, 3}, torch::kUInt8), record);
  const auto options = options_of_file();
  EXPECT_EQ(options.at("guidance_scale"), 7.5);
  EXPECT_EQ(options.at("perturbed_attention"), 0.0);
  EXPECT_EQ(options.at("clip_skip"), 1);
  EXPECT_EQ(options.at("prediction_type"), "v_prediction");
  EXPECT_FALSE(options.contains("zero_snr"));
  EXPECT_FALSE(options.contains("variant"));
  // Whatever model a picture of others is painted with here.
  io::write_png(file, torch::zeros({16, 16, 3}, torch::kUInt8),
                {{"parameters", "a cat\nSteps: 9, Sampler: Euler, Size: 16x16"}});
  EXPECT_EQ(options_of_file().at("zero_snr"), false);
  EXPECT_FALSE(options_of_file().contains("init"));
}

}  // namespace
}  // namespace mos
