#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "mos/base/error.h"
#include "mos/region/foreign_record.h"

namespace mos::region {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kInvokeAi = R"({"generation_mode": "txt2img", "positive_prompt": "sea",
  "negative_prompt": "bad", "width": 512, "height": 256, "seed": 9, "cfg_scale": 6.5,
  "cfg_rescale_multiplier": 0, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1,
  "rand_device": "cpu", "model": {"name": "dreamshaper", "base": "sd-1"},
  "loras": [{"model": {"name": "ink"}, "weight": 0.75}], "vae": {"name": "ft-mse"},
  "canvas_v2_metadata": {"rasterLayers": [], "regionalGuidance": [
    {"id": "a", "name": "dog", "type": "regional_guidance", "isEnabled": true,
     "position": {"x": 256, "y": 0}, "positivePrompt": "a dog", "negativePrompt": null,
     "autoNegative": true, "referenceImages": [], "objects": [
      {"id": "1", "type": "rect", "rect": {"x": 0, "y": 64, "width": 128, "height": 64}},
      {"id": "2", "type": "brush_line", "strokeWidth": 32, "points": [10, 20, 30, 40]},
      {"id": "3", "type": "eraser_line_with_pressure", "strokeWidth": 8, "points": [1, 2, 0.5]}]},
    {"id": "b", "isEnabled": false, "positivePrompt": "a cow", "objects": []}]}})";

TEST(InvokeAi, RegionsOfItsCanvasAreDrawings) {
  const auto record = *read_foreign({{"invokeai_metadata", kInvokeAi}}, "x.png");
  EXPECT_EQ(record.scene.at("root_prompt"), "sea");
  EXPECT_EQ(record.scene.at("root_negative_prompt"), "bad");
  EXPECT_EQ(record.prompt, "");
  EXPECT_THAT(record.loras, ElementsAre(text::LoraTag{"ink", 0.75}));
  EXPECT_EQ(record.options.scheduler, "dpm++");
  EXPECT_EQ(record.options.sampler.sigmas, "karras");
  EXPECT_EQ(record.options.sampler.clip_skip, 2);
  EXPECT_EQ(record.options.guidance_scale, 6.5);
  EXPECT_EQ(record.model, "dreamshaper");
  const Canvas canvas{256, 512};
  const auto scene = scene_from_json(record.scene, "x", canvas);
  ASSERT_EQ(scene.regions.size(), 1U);
  const auto& drawing = scene.regions[0].drawing;
  ASSERT_EQ(drawing.size(), 3U);
  EXPECT_EQ(drawing[0].points[2].top, 0.5);
  EXPECT_EQ(drawing[0].points[2].left, 0.75);
  EXPECT_EQ(drawing[1].width, 0.125);
  EXPECT_TRUE(drawing[2].erase);
  EXPECT_EQ(drawing[2].points.size(), 1U);
  EXPECT_THAT(record.left_out,
              ElementsAre(HasSubstr("auto-negative"), HasSubstr("frame"), HasSubstr("vae")));
}

TEST(InvokeAi, TheKarrasHalfOfASamplerThatIsNotHereSurvives) {
  const auto read = [](const std::string& name) {
    return read_invokeai_metadata(R"({"positive_prompt": "sea", "scheduler": ")" + name + "\"}",
                                  "x");
  };
  for (const char* name : {"dpmpp_2s_k", "deis_k"}) {
    const auto record = read(name);
    EXPECT_EQ(record.options.sampler.sigmas, "karras");
    EXPECT_THAT(record.left_out,
                ElementsAre(fmt::format(
                    "the sampler {} is not here; dpm++ is taken with sigmas karras", name)));
  }
  EXPECT_THAT(read("deis").left_out, ElementsAre("the sampler deis is not here; dpm++ is taken"));
  const auto third = read("dpmpp_3m_k");
  EXPECT_EQ(third.options.scheduler, "dpmpp_3m");
  EXPECT_EQ(third.options.sampler.sigmas, "karras");
  EXPECT_THAT(third.left_out, IsEmpty());
}

TEST(InvokeAi, ValuesOfAnotherKindAreNamed) {
  const auto record = read_invokeai_metadata(
      R"({"positive_prompt": 1, "steps": 2.7, "width": "wide", "clip_skip": 9223372036854775807,
          "seed": -1, "loras": [{"model": {"name": "ink"}, "weight": "much"}]})",
      "x");
  EXPECT_EQ(record.options.steps, SampleOptions().steps);
  EXPECT_EQ(record.options.sampler.clip_skip, 1);
  EXPECT_THAT(record.left_out,
              ElementsAre(HasSubstr("positive_prompt"), HasSubstr("width, which is \"wide\""),
                          HasSubstr("seed, which is -1"), HasSubstr("steps, which is 2.7"),
                          HasSubstr("last 9223372036854775807 layers"), HasSubstr("weight")));
}

TEST(InvokeAi, GuidanceOfEachStepIsReadOrNamed) {
  const auto read = [](const std::string& scale) {
    return read_invokeai_metadata(R"({"positive_prompt": "sea", "cfg_scale": )" + scale + "}", "x");
  };
  const auto same = read("[6.5, 6.5, 6.5]");
  EXPECT_EQ(same.options.guidance_scale, 6.5);
  EXPECT_THAT(same.left_out, IsEmpty());
  const auto changing = read("[9, 6, 3]");
  EXPECT_EQ(changing.options.guidance_scale, 6.0);
  EXPECT_THAT(changing.left_out, ElementsAre(HasSubstr("from 9 to 3 over the steps")));
  const auto usual = SampleOptions().guidance_scale;
  EXPECT_EQ(read("[]").options.guidance_scale, usual);
  for (const char* text : {R"([6, "much"])", R"("much")"}) {
    const auto wrong = read(text);
    EXPECT_EQ(wrong.options.guidance_scale, usual);
    EXPECT_THAT(wrong.left_out, ElementsAre(HasSubstr("cfg_scale, which is")));
  }
}

TEST(InvokeAi, PicturesWithoutRegionsHaveTheirPrompts) {
  const auto record = read_invokeai_metadata(
      R"({"positive_prompt": "sea", "scheduler": "euler", "regions": [], "seed": 3})", "x");
  EXPECT_EQ(record.prompt, "sea");
  EXPECT_EQ(record.options.sampler.sigmas, "");
  EXPECT_THAT(record.left_out, IsEmpty());
  EXPECT_THROW(read_invokeai_metadata("[]", "x"), Error);
}

TEST(InvokeAi, HasPromptsOfCompelAndNotOfOurs) {
  const auto read = [](const char* positive, const char* negative) {
    const Json metadata = {{"positive_prompt", positive}, {"negative_prompt", negative}};
    return read_invokeai_metadata(metadata.dump(), "x");
  };
  const auto record = read("a (cat) (dog)1.3 {a|b} [c]", "(x).swap(y)");
  EXPECT_EQ(record.prompt, "a cat (dog:1.3) \\{a|b} \\[c\\]");
  EXPECT_THAT(record.left_out, ElementsAre(HasSubstr("how weights move words there"),
                                           "\".swap()\" of a prompt, which is text here"));
  EXPECT_THAT(read("a (cat)", "").left_out, IsEmpty());
}

}  // namespace
}  // namespace mos::region
