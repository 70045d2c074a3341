#include <gmock/gmock.h>
#include <torch/nn/modules/linear.h>

#include "mos/io/mapped_file.h"
#include "mos/io/safetensors.h"
#include "tests/io/bytes.h"
#include "tests/support/errors.h"
#include "tests/support/temp_dir.h"

// Files that are written one tensor after the other, and modules that share what was read.

namespace mos::io {
namespace {

using mos::test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class LazyWriter : public testing::Test {
 protected:
  /// A tensor that notes when it is made.
  LazyTensor noted(const std::string& name, torch::ScalarType dtype = torch::kFloat32) {
    return {dtype, {2}, [this, name, dtype] {
              made_.push_back(name);
              return torch::ones({2}, dtype);
            }};
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename());
    }
    return names;
  }

  const TempDir folder_;
  std::vector<std::string> made_;
};

TEST_F(LazyWriter, MakesEachTensorOnceInTheOrderOfTheFile) {
  write_safetensors(
      folder_ / "x.safetensors",
      {{"a", noted("a", torch::kHalf)}, {"b", noted("b", torch::kFloat64)}, {"c", noted("c")}});
  EXPECT_THAT(made_, ElementsAre("b", "c", "a"));  // larger elements first
  const SafetensorsFile file(folder_ / "x.safetensors");
  std::vector<std::string> stored;
  for (const auto& info : file.tensors()) stored.push_back(info.name);
  EXPECT_EQ(stored, made_);
}

TEST_F(LazyWriter, LetsATensorGoBeforeTheNextIsMade) {
  std::weak_ptr<int> first_alive;
  bool was_alive = true;
  auto token = std::make_shared<int>(1);
  first_alive = token;
  LazyDict tensors;
  tensors["a"] = {torch::kFloat32, {1}, [token] { return torch::ones({1}); }};
  tensors["b"] = {torch::kFloat32, {1}, [&] {
                    was_alive = !first_alive.expired();
                    return torch::ones({1});
                  }};
  token.reset();
  write_safetensors(folder_ / "x.safetensors", std::move(tensors));
  EXPECT_FALSE(was_alive) << "a file larger than memory could not be written";
}

TEST_F(LazyWriter, StopsBetweenTensorsAndLeavesNothing) {
  CancelToken cancel;
  LazyDict tensors{{"a", noted("a")}, {"z", noted("z")}};
  tensors["b"] = {torch::kFloat32, {2}, [&] {
                    cancel.cancel();
                    return torch::ones({2});
                  }};
  message_of(ErrorKind::kCancelled, [&] {
    write_safetensors(folder_ / "x.safetensors", tensors, {}, {.cancel = &cancel});
  });
  EXPECT_THAT(made_, ElementsAre("a"));
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(LazyWriter, AFileThatMustNotBeReplacedStaysAndTheNewOneIsBesideIt) {
  test::write_bytes(folder_ / "x.safetensors", "mine");
  message_of(ErrorKind::kIo, [&] {
    write_safetensors(folder_ / "x.safetensors", {{"a", noted("a")}}, {},
                      {.file = {.existing = Existing::kRefuse}});
  });
  EXPECT_THAT(names(), UnorderedElementsAre("x-2.safetensors", "x.safetensors"));
  EXPECT_EQ(MappedFile(folder_ / "x.safetensors").text(), "mine");
}

TEST_F(LazyWriter, AShapeThatWasNotPromisedIsNotWritten) {
  LazyDict tensors;
  tensors["a"] = {torch::kFloat32, {3}, [] { return torch::ones({2}); }};
  EXPECT_THROW(write_safetensors(folder_ / "x.safetensors", std::move(tensors)), c10::Error);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(LazyWriter, ANameThatIsNotThereIsSaidWithItsFile) {
  save_safetensors(folder_ / "x.safetensors", {{"a", torch::ones({2})}});
  const SafetensorsFile file(folder_ / "x.safetensors");
  EXPECT_TRUE(file.contains("a"));
  EXPECT_FALSE(file.contains("A"));
  const auto message = message_of(ErrorKind::kMismatch, [&] { file.get("A"); });
  EXPECT_THAT(message, HasSubstr("x.safetensors has no tensor \"A\""));
}

TEST_F(LazyWriter, WhatCannotBeMappedIsSaidWithTheReasonOfTheSystem) {
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { MappedFile file(folder_ / "none"); }),
              HasSubstr("No such file"));
  EXPECT_THAT(message_of(ErrorKind::kIo, [&] { MappedFile file(folder_.path()); }),
              HasSubstr("it is not a file"));
  EXPECT_THAT(message_of(ErrorKind::kIo, [] { MappedFile file("/dev/null"); }),
              HasSubstr("it is not a file"));
  test::write_bytes(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "empty").text(), "");
}

TEST(ShareWeights, TwoModulesAreOneSetOfWeights) {
  torch::nn::Linear from(3, 2), to(3, 2);
  share_weights(*from, *to);
  const torch::NoGradGuard no_grad;
  from->weight.fill_(4.0);
  EXPECT_EQ(to->weight.data_ptr(), from->weight.data_ptr());
  EXPECT_TRUE((to->weight == 4.0).all().item<bool>());
}

TEST(ShareWeights, WhatTheOtherLacksOrHasInAnotherShapeIsAMismatch) {
  torch::nn::Linear small(3, 2), wide(4, 2);
  torch::nn::Linear without(torch::nn::LinearOptions(3, 2).bias(false));
  const auto before = wide->weight.clone();
  EXPECT_THAT(message_of(ErrorKind::kMismatch, [&] { share_weights(*small, *wide); }),
              HasSubstr("[2, 3] in the file, [2, 4] in the model"));
  EXPECT_TRUE(wide->weight.equal(before));
  EXPECT_THAT(message_of(ErrorKind::kMismatch, [&] { share_weights(*without, *small); }),
              HasSubstr("1 missing: bias"));
  share_weights(*small, *without);  // what there is more is nobody's business
  EXPECT_EQ(without->weight.data_ptr(), small->weight.data_ptr());
}

TEST(Compare, ReportsWithoutWriting) {
  torch::nn::Linear module(3, 2);
  const auto before = module->weight.clone();
  const auto report =
      compare(*module, {{"weight", torch::zeros({2, 3})}, {"extra", torch::zeros({1})}});
  EXPECT_THAT(report.loaded, ElementsAre("weight"));
  EXPECT_THAT(report.missing, ElementsAre("bias"));
  EXPECT_THAT(report.unexpected, ElementsAre("extra"));
  EXPECT_THAT(report.mismatched, IsEmpty());
  EXPECT_TRUE(module->weight.equal(before));
}

}  // namespace
}  // namespace mos::io
