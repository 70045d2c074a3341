#include <gmock/gmock.h>

#include <cstdint>
#include <string>

#include "mos/base/schema.h"
#include "mos/pretrain/acceptance.h"
#include "mos/pretrain/adapter_training.h"
#include "mos/pretrain/average.h"
#include "mos/pretrain/decoder_training.h"
#include "mos/pretrain/stage.h"
#include "mos/pretrain/tower_training.h"
#include "mos/pretrain/unet_training.h"
#include "mos/pretrain/vae_training.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

namespace mos::pretrain {
namespace {

using test::message_of_any;
using testing::HasSubstr;

/// Numbers of every field that are below its least value or above its most are refused by name.
template <class Options>
void expect_two_ends(const std::string& stage) {
  for (const auto& field : schema_of<Options>()) {
    if (field.type != FieldType::kInteger && field.type != FieldType::kNumber) continue;
    if (!field.rules.least || !field.rules.most) {
      ADD_FAILURE() << stage << " " << field.name;
      continue;
    }
    for (const double beyond : {*field.rules.least - 1.0, *field.rules.most * 2.0 + 1.0}) {
      Json value = beyond;
      if (field.type == FieldType::kInteger) value = static_cast<std::int64_t>(beyond);
      if (field.is_list) value = Json::array({value});
      Options options;
      read_options({{field.name, value}}, stage, options);
      EXPECT_THAT(message_of_any([&] { check_fields(options); }), HasSubstr(field.name)) << stage;
    }
  }
}

TEST(StageOptions, EveryNumberHasTwoEnds) {
  expect_two_ends<VaeOptions>("vae");
  expect_two_ends<TowerOptions>("towers");
  expect_two_ends<DecoderOptions>("decoder");
  expect_two_ends<UNetOptions>("unet");
  expect_two_ends<AverageOptions>("average");
  expect_two_ends<AdapterOptions>("adapter");
  expect_two_ends<AcceptanceOptions>("accept");
}

TEST(StageOptions, WhatAreTheUsualOnesIsPossible) {
  check_fields(VaeOptions());
  check_fields(tower_options(TowerRole::kTowers));
  check_fields(tower_options(TowerRole::kJudge));
  check_fields(DecoderOptions());
  check_fields(UNetOptions());
  check_fields(AdapterOptions());
  check_fields(AcceptanceOptions());
  check_fields(DataOptions());
}

TEST(StageOptions, ThatAStageHasKeptAreAsStrictAsFlagsAndNameTheirFile) {
  const TempDir folder;
  write_json(options_of_stage(folder.path()), {{"noises", 0}});
  const auto message = message_of_any([&] { kept_options<UNetOptions>(folder.path()); });
  EXPECT_THAT(message, HasSubstr("options.json"));
  EXPECT_THAT(message, HasSubstr("\"noises\" is 0, expected a value from 1 to"));
}

}  // namespace
}  // namespace mos::pretrain
