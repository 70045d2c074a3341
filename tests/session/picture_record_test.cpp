#include "mos/session/picture_record.h"

#include <gmock/gmock.h>

#include "mos/base/file.h"
#include "mos/io/image.h"
#include "tests/support/errors.h"
#include "tests/support/golden.h"
#include "tests/support/spoiled.h"
#include "tests/support/temp_dir.h"

namespace mos::session {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// Pictures of earlier versions (data/records): one from before there were samplers on sigmas,
/// shapes and marks in prompts, one with all of these.
TEST(PictureRecords, OfEarlierVersionsAreWrittenAgainToTheByte) {
  for (const char* name : {"records/boxes.png", "records/shapes.png"}) {
    const auto why = golden::missing({name});
    if (!why.empty()) GTEST_SKIP() << why;
    const auto path = *golden::find(name);
    const auto again = picture_bytes(io::read_image(path).pixels, read_record(path));
    EXPECT_TRUE(again == read_text_file(path)) << name;
  }
}

TEST(PictureRecords, TellOtherProgramsAllWhereTheySaySo) {
  const TempDir folder;
  PictureRecord record;
  record.program = record.libtorch = "1";
  record.device = "cpu";
  record.dtype = "float32";
  record.scene.prompt = "a cat";
  record.scene.root_prompt = "ink";
  record.scene.canvas = region::Canvas{16, 16};
  record.options.pictures.hires = 2.0;
  record.has_parameters = true;
  const auto path = folder / "picture.png";
  const auto told = [&] {
    write_picture(path, torch::zeros({32, 32, 3}, torch::kUInt8), record);
    const auto image = io::read_image(path);
    EXPECT_TRUE(picture_bytes(image.pixels, read_record(path)) == read_text_file(path));
    return image.text.at("parameters");
  };
  EXPECT_THAT(told(), AllOf(testing::StartsWith("a cat\n"), testing::Not(HasSubstr("Hires"))));
  record.has_whole_parameters = true;
  EXPECT_THAT(told(), AllOf(testing::StartsWith("ink, a cat\n"), HasSubstr("Hires upscale: 2,")));
}

/// What the record `json` is refused with, read from a picture.
std::string refused(const TempDir& folder, const Json& json) {
  const auto path = folder / "picture.png";
  io::write_png(path, torch::zeros({1, 1, 3}, torch::kUInt8), {{kRecordKeyword, json_text(json)}});
  return test::message_of(ErrorKind::kFormat, [&] { read_record(path); });
}

Json recorded(const char* name) {
  const auto text = io::read_image(*golden::find(name)).text.at(kRecordKeyword);
  return parse_json(text, name);
}

TEST(PictureRecords, RefuseEveryValueOfAnotherTypeAndSayWhere) {
  const TempDir folder;
  for (const char* name : {"records/boxes.png", "records/shapes.png"}) {
    const auto why = golden::missing({name});
    if (!why.empty()) GTEST_SKIP() << why;
    for (const auto& [json, key, shown] : test::spoiled(recorded(name))) {
      if (shown == "/parameters = null") continue;  // as if it were not there
      const auto message = refused(folder, json);
      EXPECT_THAT(message, HasSubstr("picture.png")) << shown;
      EXPECT_THAT(message, HasSubstr(key)) << shown;
    }
  }
}

TEST(PictureRecords, RefuseWhatNoPictureWasMadeWith) {
  const char* name = "records/shapes.png";
  const auto why = golden::missing({name});
  if (!why.empty()) GTEST_SKIP() << why;
  const TempDir folder;
  const auto good = recorded(name);
  for (const char* way : {"/options/steps", "/options/count", "/options/height", "/options/seed",
                          "/options/clip_skip", "/threads", "/seed", "/scene/width"}) {
    const std::string key = std::string(way).substr(std::string(way).rfind('/') + 1);
    for (const Json& number : {Json(2.7), Json(-1), Json(1e30)}) {
      auto json = good;
      json.at(Json::json_pointer(way)) = number;
      EXPECT_THAT(refused(folder, json), AllOf(HasSubstr("picture.png"), HasSubstr(key)))
          << way << " = " << number;
    }
  }
  for (const char* way : {"/concepts/0/scale", "/options/guidance_scale", "/options/eta",
                          "/options/guidance_rescale", "/scene/regions/0/weight"}) {
    auto json = good;
    json.at(Json::json_pointer(way)) = 1e30;
    EXPECT_THAT(refused(folder, json), HasSubstr("picture.png")) << way;
  }
}

TEST(PictureRecords, RefuseWhatTheyDoNotKnow) {
  const char* name = "records/boxes.png";
  const auto why = golden::missing({name});
  if (!why.empty()) GTEST_SKIP() << why;
  const TempDir folder;
  for (const char* way : {"", "/base", "/concepts/0", "/options", "/scene", "/scene/regions/0"}) {
    auto json = recorded(name);
    json.at(Json::json_pointer(way))["sheen"] = 1;
    EXPECT_THAT(refused(folder, json), AllOf(HasSubstr("picture.png"), HasSubstr("sheen"))) << way;
  }
}

/// Whatever is missing: a record is refused, or it says what to paint and how large.
TEST(PictureRecords, WithoutOneOfTheirPartsAreRefusedOrWhole) {
  const char* name = "records/boxes.png";
  const auto why = golden::missing({name});
  if (!why.empty()) GTEST_SKIP() << why;
  const TempDir folder;
  const auto good = recorded(name);
  for (const char* way : {"", "/base", "/concepts/0", "/options", "/scene"}) {
    const auto keys = good.at(Json::json_pointer(way)).items();
    for (const auto& [key, value] : keys) {
      auto json = good;
      json.at(Json::json_pointer(way)).erase(key);
      const auto path = folder / "picture.png";
      io::write_png(path, torch::zeros({1, 1, 3}, torch::kUInt8),
                    {{kRecordKeyword, json_text(json)}});
      try {
        EXPECT_TRUE(read_record(path).scene.canvas.has_value()) << way << "/" << key;
      } catch (const Error& error) {
        EXPECT_EQ(error.kind(), ErrorKind::kFormat);
        EXPECT_THAT(error.what(), AllOf(HasSubstr("picture.png"), HasSubstr(key)));
      }
    }
  }
  auto json = good;
  json["scene"] = Json::object();
  EXPECT_THAT(refused(folder, json), HasSubstr("\"prompt\""));
  json["scene"] = {{"prompt", "a dog"}};
  EXPECT_TRUE(json["options"].erase("height") == 1);
  EXPECT_THAT(refused(folder, json), HasSubstr("height"));
}

}  // namespace
}  // namespace mos::session
