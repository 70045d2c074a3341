#include "mos/jobs/idle_options.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "mos/base/random.h"
#include "mos/concepts/concept_writer.h"
#include "mos/io/image.h"
#include "mos/jobs/scene.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"
#include "tests/support/tiny_model.h"

/// Nothing that was asked for does nothing in silence: it is refused, or said where others give it.
namespace mos::jobs {
namespace {

using test::message_of;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class IdleOptions : public testing::Test {
 protected:
  IdleOptions() {
    tiny::model().save(folder_ / "model");
    io::write_png(folder_ / "grey.png", torch::full({16, 16, 3}, 90, torch::kUInt8));
    auto generator = seeded_generator(3);
    concepts::ConceptDelta delta;
    delta.words.push_back({"<cat1>", randn({1, 16}, generator)});
    concepts::save_concept(folder_ / "cat.safetensors", delta);
  }

  std::string at(const std::string& name) const { return (folder_ / name).string(); }

  /// Of the canvas of 16 x 16 pixels that the model has.
  SampleJob job(Json options, const Json& scene = {{"prompt", "a cat"}}) const {
    const Json usual = {{"base", at("model")}, {"out", at("new.png")}, {"dtype", "float32"},
                        {"steps", 3},          {"plain_text", true},   {"scheduler", "euler"}};
    for (const auto& [name, value] : usual.items()) {
      if (!options.contains(name)) options[name] = value;
    }
    auto made = sample_job(options, "the request");
    made.scene_json = scene;
    return made;
  }

  static std::string refusal(const SampleJob& job) {
    return message_of(ErrorKind::kUsage, [&] { check_files(job); });
  }

  /// What is said while it is painted.
  static std::vector<std::string> talk(const SampleJob& job) {
    std::vector<std::string> heard;
    run(job, {.log = [&](log::Level level, std::string_view text) {
          if (level == log::Level::kWarning) heard.emplace_back(text);
        }});
    return heard;
  }

  static Json with_regions(const Json& regions, const std::string& prompt = "a cat") {
    return {{"prompt", prompt}, {"regions", regions}};
  }

  const Json half_ = {0, 0, 1, 0.5};
  TempDir folder_;
};

TEST_F(IdleOptions, ASubjectThatStandsInNoPromptIsRefused) {
  const auto dog = with_regions({{{"subject", "dog"}, {"box", half_}}});
  const auto said = AllOf(HasSubstr("region 1"), HasSubstr("\"dog\" does not stand in the prompt"));
  EXPECT_THAT(refusal(job({}, dog)), said);
  EXPECT_THAT(
      refusal(job({}, with_regions({{{"subject", "dog"}, {"prompt", "b"}, {"box", half_}}}))),
      said);
  check_files(job({}, with_regions({{{"subject", "cat"}, {"box", half_}}})));
  check_files(job({}, with_regions({{{"subject", "dog"}, {"prompt", "a dog"}, {"box", half_}}})));
  auto rooted = dog;
  rooted["root_prompt"] = "a dog";
  check_files(job({}, rooted));
}

TEST_F(IdleOptions, ASubjectStandsInTheTextOfEachPicture) {
  const auto scene = with_regions({{{"subject", "dog"}, {"box", half_}}}, "a {dog|cat}");
  EXPECT_THAT(refusal(job({{"plain_text", false}, {"count", 20}}, scene)),
              HasSubstr("\"dog\" does not stand in the prompt \"a cat\""));
  const auto colours = with_regions({{{"subject", "red cat"}, {"box", half_}}}, "a {red|red} cat");
  check_files(job({{"plain_text", false}, {"count", 20}}, colours));
}

TEST_F(IdleOptions, ARecordedSceneIsPaintedAsItWas) {
  auto recorded = job({}, with_regions({{{"subject", "dog"}, {"box", {0, 0, 1, 1}}},
                                        {{"prompt", "b"}, {"background", true}}}));
  recorded.from = "recorded.png";
  recorded.sample.sampler.compose = region::Compose::kOwn;
  check_files(recorded);
  recorded.prompt = "a cat";
  EXPECT_THAT(refusal(recorded), HasSubstr("\"dog\" does not stand"));
}

TEST_F(IdleOptions, ABackgroundOfNothingIsRefused) {
  const Json sand = {{"prompt", "b"}, {"background", true}};
  const auto behind = [&](const Json& box, double feather) {
    return with_regions({{{"prompt", "a"}, {"box", box}, {"feather", feather}}, sand});
  };
  const auto said = HasSubstr("region 2 \"b\" is the background and covers no pixel");
  for (const double feather : {0.0, 3.0, 8.0}) {
    EXPECT_THAT(refusal(job({}, behind({0, 0, 1, 1}, feather))), said) << feather;
  }
  const auto halves = with_regions(
      {{{"prompt", "a"}, {"box", half_}}, {{"prompt", "c"}, {"box", {0, 0.5, 1, 1}}}, sand});
  EXPECT_THAT(refusal(job({}, halves)), HasSubstr("region 3 \"b\""));
  check_files(job({}, behind(half_, 0.0)));
}

TEST_F(IdleOptions, ARegionThatIsAllEdgeIsNotPaintedAgain) {
  const auto scene = with_regions({{{"prompt", "a"}, {"box", {0, 0, 0.25, 0.25}}}});
  auto redone = job({{"init", at("grey.png")}, {"redo_region", "1"}, {"mask_feather", 64}}, scene);
  EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { run(redone); }),
              AllOf(HasSubstr("region \"1\""), HasSubstr("--mask-feather")));
  redone.sample.pictures.mask_feather = 0;
  run(redone);
}

TEST_F(IdleOptions, APictureGrowsToTheCanvasThatIsAskedFor) {
  Json grown = {{"init", at("grey.png")}, {"grow", {0, 0, 16, 0}}};
  const auto said = [](const std::string& canvas) {
    return AllOf(HasSubstr("grows to 32 x 16 pixels"), HasSubstr("asked for is " + canvas),
                 HasSubstr("ask for 32 x 16"));
  };
  check_files(job(grown));
  for (const auto& [width, canvas] : {std::pair{16, "16 x 16"}, {24, "24 x 16"}, {8, "8 x 16"}}) {
    auto options = grown;
    options["width"] = width;
    EXPECT_THAT(refusal(job(options)), said(canvas));
    const Json scene = {{"prompt", "a cat"}, {"height", 16}, {"width", width}};
    EXPECT_THAT(refusal(job(grown, scene)), said(canvas));
  }
  check_files(job(grown, {{"prompt", "a cat"}, {"height", 16}, {"width", 32}}));
  grown["height"] = grown["width"] = 32;  // the picture is resized where that stretches nothing
  grown["grow"] = {0, 0, 16, 16};
  check_files(job(grown));
}

TEST_F(IdleOptions, ConceptsActInRegionsWhereThereAreBoth) {
  const Json concept_file = {at("cat.safetensors")};
  const Json word = {{"prompt", "a <cat1>"}};
  const auto in_region = with_regions({{{"prompt", "a <cat1>"}, {"box", half_}}});
  for (const char* compose : {"own", "text", "layers"}) {
    const auto name = std::string("--compose ") + compose;
    EXPECT_THAT(refusal(job({{"compose", compose}})),
                AllOf(HasSubstr(name), HasSubstr("--concept")));
    EXPECT_THAT(refusal(job({{"compose", compose}, {"concept", concept_file}}, word)),
                AllOf(HasSubstr(name), HasSubstr("no regions")));
    check_files(job({{"compose", compose}, {"concept", concept_file}}, in_region));
  }
  for (const char* compose : {"switch", "composite"}) {
    EXPECT_THAT(refusal(job({{"compose", compose}})), HasSubstr("--concept"));
    check_files(job({{"compose", compose}, {"concept", concept_file}}, word));
  }
}

TEST_F(IdleOptions, WhatRegionsDoNotGoWithIsRefusedBeforeTheyAreSought) {
  const Json sought = {{"auto_regions", true}, {"subjects", {"cat", "dog"}}};
  const Json scene = {{"prompt", "a <cat1>, cat, dog"}};
  const auto with = [&](const char* name, const char* value) {
    auto options = sought;
    options[name] = value;
    options["concept"] = {at("cat.safetensors")};
    return job(options, scene);
  };
  for (const char* compose : {"switch", "composite"}) {
    EXPECT_THAT(refusal(with("compose", compose)),
                AllOf(HasSubstr(std::string("--compose ") + compose), HasSubstr("--auto-regions")));
  }
  EXPECT_THAT(refusal(with("structure", "conjunction")),
              AllOf(HasSubstr("--structure conjunction"), HasSubstr("--auto-regions")));
  check_files(with("compose", "own"));
  check_files(with("structure", "values"));
}

TEST_F(IdleOptions, RootPromptsArePromptsLikeOthers) {
  const auto rooted = [](const char* root) -> Json {
    return {{"root_prompt", root}, {"prompt", "a"}};
  };
  const Json with_file = {{"concept", {at("cat.safetensors")}}};
  check_files(job(with_file, rooted("a <cat1>")));
  EXPECT_THAT(refusal(job(with_file, rooted("b"))), HasSubstr("no prompt has a word"));
  EXPECT_THAT(refusal(job({}, rooted("a <nosuch1>"))), HasSubstr("<nosuch1>"));
  const Json marked = {{"plain_text", false}, {"lora_folder", folder_.path().string()}};
  for (const char* key : {"root_prompt", "root_negative_prompt"}) {
    const auto named = [&](const std::string& text) {
      return job(marked, {{"prompt", "a <cat1>"}, {key, text}});
    };
    EXPECT_TRUE(names_loras(named("<lora:cat:0.5>"))) << key;
    const auto uses = resolved(named("<lora:cat:0.5>")).uses;
    ASSERT_EQ(uses.size(), 1U) << key;
    EXPECT_EQ(uses[0].scale, 0.5) << key;
    EXPECT_THAT(message_of(ErrorKind::kUsage, [&] { resolved(named("<lora:none>")); }),
                HasSubstr("<lora:none>"))
        << key;
  }
}

TEST_F(IdleOptions, ZeroSnrIsRefusedOfTheModelsOwnSchedulerToo) {
  auto config = tiny::scheduler_config();
  config["_class_name"] = "PNDMScheduler";
  write_text_file(folder_ / "model/scheduler/scheduler_config.json", config.dump());
  EXPECT_THAT(refusal(job({{"scheduler", ""}, {"zero_snr", true}})),
              HasSubstr("--zero-snr does not go with the model's own scheduler, pndm"));
  check_files(job({{"scheduler", "euler"}, {"zero_snr", true}}));
}

TEST_F(IdleOptions, SpacingThatNothingIsSpreadByIsSaid) {
  const auto of = [&](const char* scheduler, const char* sigmas) {
    return talk(job({{"scheduler", scheduler}, {"sigmas", sigmas}, {"spacing", "trailing"}}));
  };
  const auto says = [](const std::string& text) {
    return Contains(HasSubstr("--spacing trailing changes nothing: " + text));
  };
  EXPECT_THAT(of("euler", "automatic"), says("--sigmas automatic"));
  EXPECT_THAT(of("lcm", "automatic"), says("--sigmas automatic"));
  EXPECT_THAT(of("Euler Karras", ""), says("--scheduler Euler Karras"));
  EXPECT_THAT(of("lcm", ""), says("lcm"));
  EXPECT_THAT(of("tcd", ""), says("tcd"));
  for (const char* spread : {"", "ddim", "dpm++", "unipc", "heun"}) {
    EXPECT_THAT(of(spread, ""), IsEmpty()) << spread;
  }
}

TEST_F(IdleOptions, WhatOthersGiveAlongIsSaid) {
  EXPECT_THAT(talk(job({})), IsEmpty());
  const auto says = [](const std::string& text) { return Contains(HasSubstr(text)); };
  EXPECT_THAT(talk(job({{"sigmas", "karras"}, {"spacing", "trailing"}})),
              says("--spacing trailing changes nothing"));
  EXPECT_THAT(talk(job({{"spacing", "trailing"}})), IsEmpty());
  EXPECT_THAT(talk(job({{"list_keys", true}})), says("--list-keys is of concept files"));
  EXPECT_THAT(talk(job({{"allow_unexpected", true}})), says("--allow-unexpected is of"));
  EXPECT_THAT(talk(job({}, {{"prompt", "a"}, {"overlap", "front"}, {"isolate", true}})),
              says("\"overlap\", \"isolate\""));
  EXPECT_THAT(talk(job({}, {{"prompt", "a"}, {"base_ratio", 0.1}})), says("\"base_ratio\""));
}

TEST_F(IdleOptions, GuidanceThatIsNeverOrAlwaysOnIsSaid) {
  const auto says = [](const std::string& text) { return Contains(HasSubstr(text)); };
  EXPECT_THAT(talk(job({{"guidance_end", 1000}})), says("guidance is never on"));
  EXPECT_THAT(talk(job({{"guidance_start", 0.001}})), says("guidance is never on"));
  EXPECT_THAT(talk(job({{"guidance_start", 1000}})), says("guidance is on from the beginning"));
  EXPECT_THAT(talk(job({{"guidance_start", 5}, {"guidance_end", 0.1}})), IsEmpty());
  const Json with_negative = {{"prompt", "a"}, {"negative_prompt", "b"}};
  const Json in_region =
      with_regions({{{"prompt", "a"}, {"negative_prompt", "b"}, {"box", half_}}});
  for (const auto& scene : {with_negative, in_region}) {
    EXPECT_THAT(talk(job({{"guidance_scale", 1}}, scene)), says("the negative prompt is not used"));
    EXPECT_THAT(talk(job({{"guidance_scale", 2}}, scene)), IsEmpty());
  }
}

TEST_F(IdleOptions, AMaskThatIsNotThereIsNamedWithItsRegion) {
  const auto masked = with_regions({{{"prompt", "a dog"}, {"mask", "nope.png"}}});
  const auto said = AllOf(HasSubstr("the mask nope.png of region 1 \"a dog\" is not there"),
                          HasSubstr("begins at that file's folder"));
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { check_files(job({}, masked)); }), said);
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { run(job({}, masked), {}); }), said);
  const Json condition = {{"adapter", at("model")}, {"picture", "nope.png"}};
  const Json guided = {{"prompt", "a"}, {"conditions", {condition}}};
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { check_files(job({}, guided)); }),
              HasSubstr("the picture nope.png of the adapter"));
}

TEST_F(IdleOptions, ShapesThatWeighNextToNothingAreSaid) {
  const auto of_shape = [this](Json region) {
    region["prompt"] = "a dog";
    return talk(job({}, with_regions(Json::array({std::move(region)}))));
  };
  const auto says = Contains(HasSubstr("region 1 \"a dog\" will hardly be seen"));
  auto dots = torch::zeros({16, 16, 1}, torch::kUInt8);
  dots[3][3] = 100;
  io::write_png(folder_ / "dot.png", dots);
  dots.slice(0, 0, 8).slice(1, 0, 8).fill_(255);
  io::write_png(folder_ / "square.png", dots);
  EXPECT_THAT(of_shape({{"polygon", {{3, 3}, {3, 4}, {9, 9}}}}), says);
  EXPECT_THAT(of_shape({{"mask", at("dot.png")}}), says);
  EXPECT_THAT(of_shape({{"box", {4, 4, 8, 8}}, {"feather", 900}}),
              Contains(HasSubstr("or its feather smaller")));
  EXPECT_THAT(of_shape({{"polygon", {{0, 0}, {0, 12}, {12, 0}}}}), IsEmpty());
  EXPECT_THAT(of_shape({{"mask", at("square.png")}, {"feather", 2}}), IsEmpty());
}

TEST_F(IdleOptions, GuidesLeaveABackgroundAlone) {
  const Json cat = {{"prompt", "a <cat1>"}, {"box", half_}};
  const auto guided = [&](const Json& regions, Json options) {
    options["guide"] = "layout";
    options["concept"] = {at("cat.safetensors")};
    return job(std::move(options), with_regions(regions));
  };
  const Json sea = {{"prompt", "the sea"}, {"background", true}};
  EXPECT_NO_THROW(run(guided({cat, sea}, Json::object()), {}));
  const auto refused = [](const SampleJob& job) {
    return message_of(ErrorKind::kUsage, [&] { run(job, {}); });
  };
  const Json dog = {{"prompt", "a dog"}, {"box", half_}};
  EXPECT_THAT(refused(guided({cat, dog}, Json::object())), HasSubstr("name it with \"subject\""));
  EXPECT_THAT(refused(guided({cat, dog}, {{"subjects", {"dog"}}})),
              HasSubstr("\"dog\" does not stand there: that of a region is its \"subject\""));
}

TEST_F(IdleOptions, RegionsThatAreOnInNoStepAreSaid) {
  const auto of_time = [this](double start, double end) {
    return with_regions({{{"prompt", "a dog"}, {"box", half_}, {"start", start}, {"end", end}}});
  };
  const auto says =
      Contains(AllOf(HasSubstr("region 1 \"a dog\" is on in no step"), HasSubstr("start is 0.4")));
  const auto of_four = [this](const Json& scene, Json options) {
    options["steps"] = 4;
    return talk(job(std::move(options), scene));
  };
  EXPECT_THAT(of_four(of_time(0.4, 0.45), Json::object()), says);
  EXPECT_THAT(of_four(of_time(0.4, 0.51), Json::object()), IsEmpty());
  // Half of the steps lie before the picture that it begins with.
  const Json over = {{"init", at("grey.png")}, {"strength", 0.25}};
  EXPECT_THAT(of_four(of_time(0.4, 0.7), over), says);
  EXPECT_THAT(of_four(of_time(0.4, 0.8), over), IsEmpty());
  // What a picture grows by has no step before it.
  Json grown = {{"init", at("grey.png")}};
  EXPECT_THAT(of_four(of_time(0.0, 0.2), grown), Contains(HasSubstr("is on in no step")));
  grown["grow"] = {16, 0, 0, 0};
  EXPECT_THAT(of_four(of_time(0.0, 0.2), grown), IsEmpty());
}

TEST_F(IdleOptions, ListsForAdaptersNeedOne) {
  const std::vector<std::pair<std::string, Json>> lists = {{"adapter_weight", {2}},
                                                           {"adapter_start", {0.5}},
                                                           {"adapter_end", {0.5}},
                                                           {"condition", {at("grey.png")}}};
  for (const auto& [name, value] : lists) {
    EXPECT_THAT(message_of(ErrorKind::kUsage,
                           [&] {
                             check(job({{name, value}}));
                           }),
                AllOf(HasSubstr("there is none"), HasSubstr("--adapter FILE")))
        << name;
  }
}

TEST_F(IdleOptions, PromptsNameFilesOfTheLoraFolder) {
  EXPECT_FALSE(names_loras(job({})));
  EXPECT_FALSE(names_loras(job({}, {{"prompt", "a <lora:b:1>"}})));  // plain text
  EXPECT_TRUE(names_loras(job({{"plain_text", false}}, {{"prompt", "a <lora:b:1>"}})));
  EXPECT_TRUE(names_loras(job({{"plain_text", false}, {"prompt", "<lora:b>"}})));
}

}  // namespace
}  // namespace mos::jobs
