#include "mos/studio/opening.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "mos/studio/database.h"
#include "tests/support/temp_dir.h"

namespace mos::studio {
namespace {

namespace fs = std::filesystem;

class OpeningTest : public ::testing::Test {
 protected:
  OpeningTest() {
    make_folders(scratch_.path() / "base/adapters/keypose");
    fs::create_symlink(scratch_.path() / "base", folder_.root() / "models/base");
    write_text_file(scratch_.path() / "pose.png", "a pose");
    write_text_file(scratch_.path() / "mask.png", "a mask");
  }

  fs::path scene(const std::string& adapter) {
    const auto file = scratch_.path() / "meadow.json";
    const auto at = [&](const char* name) { return (scratch_.path() / name).string(); };
    const Json json = {
        {"prompt", "sea"},
        {"regions", {{{"prompt", "a"}, {"mask", at("mask.png")}}, {{"prompt", "b"}}}},
        {"conditions", {{{"adapter", at(adapter.c_str())}, {"picture", at("pose.png")}}}}};
    write_text_file(file, json_text(json));
    return file;
  }

  TempDir scratch_;
  StudioFolder folder_{scratch_.path() / "studio"};
  Database database_{folder_.root() / "studio.sqlite"};
  Projects projects_{database_};
};

TEST_F(OpeningTest, ASceneIsAProjectWhoseFilesAreInTheFolder) {
  const auto id = take_scene(folder_, projects_, scene("base/adapters/keypose"));
  const auto project = projects_.find(id);
  ASSERT_TRUE(project);
  EXPECT_EQ(project->title, "meadow");
  const auto& taken = project->content.at("scene");
  EXPECT_EQ(taken.at("prompt"), "sea");
  EXPECT_EQ(taken.at("regions")[0].at("mask"), "uploads/mask.png");
  EXPECT_EQ(taken.at("conditions")[0].at("picture"), "uploads/pose.png");
  EXPECT_EQ(taken.at("conditions")[0].at("adapter"), "models/base/adapters/keypose");
  EXPECT_EQ(read_text_file(folder_.inside("uploads/pose.png")), "a pose");
}

TEST_F(OpeningTest, TheSameSceneIsTheSameProjectAndItsFilesAreNotDoubled) {
  const auto id = take_scene(folder_, projects_, scene("base/adapters/keypose"));
  EXPECT_EQ(take_scene(folder_, projects_, scene("base/adapters/keypose")), id);
  EXPECT_FALSE(fs::exists(folder_.root() / "uploads/pose-2.png"));
  write_text_file(scratch_.path() / "pose.png", "another pose");
  EXPECT_NE(take_scene(folder_, projects_, scene("base/adapters/keypose")), id);
  EXPECT_EQ(read_text_file(folder_.inside("uploads/pose-2.png")), "another pose");
  EXPECT_EQ(read_text_file(folder_.inside("uploads/pose.png")), "a pose");
}

TEST_F(OpeningTest, WhatCannotBeBroughtInIsNamed) {
  make_folders(scratch_.path() / "elsewhere/keypose");
  const auto kind_of = [&](const fs::path& file) {
    try {
      take_scene(folder_, projects_, file);
    } catch (const Error& error) {
      return error.kind();
    }
    return ErrorKind::kCancelled;
  };
  EXPECT_EQ(kind_of(scene("elsewhere/keypose")), ErrorKind::kUsage);
  EXPECT_EQ(kind_of(scene("absent")), ErrorKind::kIo);
  EXPECT_EQ(kind_of(scratch_.path() / "absent.json"), ErrorKind::kIo);
  write_text_file(scratch_.path() / "list.json", "[]");
  EXPECT_EQ(kind_of(scratch_.path() / "list.json"), ErrorKind::kFormat);
  EXPECT_THROW(take_file(folder_, scratch_.path() / "absent.safetensors", "concept-files"), Error);
  const auto refuse = [](const fs::path&) { throw Error(ErrorKind::kFormat, "it is none"); };
  EXPECT_THROW(take_file(folder_, scratch_.path() / "mask.png", "concept-files", refuse), Error);
  EXPECT_FALSE(fs::exists(folder_.root() / "concept-files/mask.png"));
  EXPECT_THROW(link_model(folder_, (scratch_.path() / "elsewhere").string(), refuse), Error);
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder_.root() / "models/elsewhere")));
  EXPECT_TRUE(projects_.list().empty());
}

}  // namespace
}  // namespace mos::studio
