#include "mos/io/torch_writer.h"

#include <gmock/gmock.h>

#include "mos/base/error.h"
#include "mos/base/file.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::io::read_torch_file;
using mos::io::save_torch_file;
using mos::io::TorchValue;

/// Every kind of value, and every number type.
TorchValue sample() {
  using Dict = TorchValue::Dict;
  Dict tensors;
  for (const auto dtype :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    tensors.emplace_back(torch::toString(dtype),
                         TorchValue{torch::arange(6).view({2, 3}).to(dtype)});
  }
  return {Dict{{"tensors", {tensors}},
               {"transposed", {torch::arange(6).view({2, 3}).t()}},
               {"scalar", {torch::tensor(0.5F)}},
               {"empty", {torch::empty({0, 4})}},
               {"text", {std::string("caf\xc3\xa9")}},
               {"list", {TorchValue::List{{true}, {false}, {}, {2.5}, {std::int64_t{-3}}}}},
               {"long", {std::int64_t{1} << 40}}}};
}

TEST(TorchWriter, EverythingComesBack) {
  const mos::TempDir folder;
  save_torch_file(folder / "a.pth", sample());
  const auto read = read_torch_file(folder / "a.pth");
  const auto expected = mos::io::flatten_tensors(sample());
  const auto actual = mos::io::flatten_tensors(read);
  ASSERT_EQ(actual.size(), expected.size());
  for (const auto& [name, tensor] : expected) {
    ASSERT_TRUE(actual.contains(name)) << name;
    EXPECT_EQ(actual.at(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(actual.at(name).equal(tensor)) << name;
  }
  EXPECT_EQ(std::get<std::string>(read.find("text")->value), "caf\xc3\xa9");
  EXPECT_EQ(std::get<std::int64_t>(read.find("long")->value), std::int64_t{1} << 40);
  const auto& list = std::get<TorchValue::List>(read.find("list")->value);
  EXPECT_EQ(std::get<bool>(list[0].value), true);
  EXPECT_EQ(std::get<double>(list[3].value), 2.5);
  EXPECT_EQ(std::get<std::int64_t>(list[4].value), -3);
}

TEST(TorchWriter, TheSameValueIsTheSameBytes) {
  const mos::TempDir folder;
  save_torch_file(folder / "a.pth", sample());
  save_torch_file(folder / "b.pth", sample());
  EXPECT_EQ(mos::read_text_file(folder / "a.pth"), mos::read_text_file(folder / "b.pth"));
}

TEST(TorchWriter, NestingIsTheInverseOfFlattening) {
  const mos::io::StateDict dict = {{"a/b", torch::ones({1})}, {"a/c", torch::zeros({1})}};
  const auto flat = mos::io::flatten_tensors(mos::io::nest_tensors(dict));
  ASSERT_EQ(flat.size(), 2U);
  EXPECT_TRUE(flat.at("a/b").equal(dict.at("a/b")));
  EXPECT_THROW(mos::io::nest_tensors({{"a", torch::ones({1})}, {"a/b", torch::ones({1})}}),
               mos::Error);
}

}  // namespace
