#include "mos/jobs/picture_requests.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mos/io/image.h"
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

}  // namespace
}  // namespace mos
