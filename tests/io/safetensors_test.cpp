#include "mos/io/safetensors.h"

#include <fmt/core.h>
#include <gmock/gmock.h>

#include <chrono>
#include <cstring>

#include "mos/base/file.h"
#include "mos/io/safetensors_header.h"
#include "tests/io/bytes.h"
#include "tests/support/temp_dir.h"

namespace {

using mos::ErrorKind;
using mos::io::SafetensorsFile;
using mos::io::StateDict;
using mos::io::test::error_of;
using mos::io::test::safetensors_bytes;
using testing::HasSubstr;

/// What reading a file of these bytes says.
std::string message_for_bytes(const std::string& bytes) {
  const mos::TempDir folder;
  mos::io::test::write_bytes(folder / "bad.safetensors", bytes);
  const auto message =
      error_of(ErrorKind::kFormat, [&] { SafetensorsFile(folder / "bad.safetensors"); });
  EXPECT_EQ(message.find('\n'), std::string::npos) << "more than one line";
  EXPECT_THAT(message, HasSubstr("bad.safetensors"));
  return message;
}

std::string message_for_header(const std::string& header, std::size_t data_bytes) {
  return message_for_bytes(safetensors_bytes(header, data_bytes));
}

std::string tensor_entry(const std::string& rest) {
  return R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)" + rest + "}";
}

TEST(SafetensorsReader, SaysThatAFileIsMissing) {
  const mos::TempDir folder;
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { SafetensorsFile(folder / "none.safetensors"); }),
              HasSubstr("No such file"));
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { SafetensorsFile{folder.path()}; }),
              HasSubstr("not a file"));
}

TEST(SafetensorsReader, RefusesEmptyAndTruncatedFiles) {
  EXPECT_THAT(message_for_bytes(""), HasSubstr("it is empty"));
  EXPECT_THAT(message_for_bytes("abc"), HasSubstr("only 3 bytes"));
  const auto whole =
      safetensors_bytes(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  EXPECT_THAT(message_for_bytes(whole.substr(0, 20)), HasSubstr("may be incomplete"));
  EXPECT_THAT(message_for_bytes(whole.substr(0, whole.size() - 1)), HasSubstr("may be incomplete"));
}

TEST(SafetensorsReader, RefusesHeadersThatClaimTooMuch) {
  EXPECT_THAT(message_for_bytes(std::string(8, '\xff') + "{}"),
              HasSubstr("more than the 100000000"));
  EXPECT_THAT(message_for_bytes(mos::io::test::little_endian(90'000'000, 8) + "{}"),
              HasSubstr("only 2 follow"));
}

TEST(SafetensorsReader, SaysWhatATextInPlaceOfTheFileIs) {
  const mos::TempDir folder;
  const auto message = [&](const std::string& text) {
    mos::write_text_file(folder / "x.safetensors", text);
    return error_of(ErrorKind::kFormat, [&] { SafetensorsFile(folder / "x.safetensors"); });
  };
  EXPECT_THAT(message("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(message("<!DOCTYPE html>\n<p>Not found</p>"), HasSubstr("begins with \"<!DOCTYPE"));
  EXPECT_THAT(message(std::string(16, '\xff')), HasSubstr("probably not a safetensors file"));
}

TEST(SafetensorsReader, RefusesHeadersThatAreNotTheRightJson) {
  EXPECT_THAT(message_for_header("{\"a\":", 0),
              HasSubstr("not valid JSON: it ends at line 1, column 6"));
  EXPECT_THAT(message_for_header("[1]", 0), HasSubstr("not a JSON object"));
  EXPECT_THAT(message_for_header("{\"a\":\"\xff\"}", 0), HasSubstr("not valid JSON"));
  EXPECT_THAT(message_for_header(R"({"a":[[[[[[]]]]]]})", 0), HasSubstr("entry of tensor \"a\""));
  EXPECT_THAT(message_for_header(R"({"a":1})", 0), HasSubstr("entry of tensor \"a\""));
}

TEST(SafetensorsReader, RefusesKeysThatComeTwice) {
  EXPECT_THAT(message_for_header(
                  tensor_entry(R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})"), 8),
              HasSubstr("key \"a\" twice"));
  EXPECT_THAT(message_for_header(
                  R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
              HasSubstr("key \"dtype\" twice"));
}

TEST(SafetensorsReader, RefusesUnknownFieldsAndDtypes) {
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F8","shape":[2],"data_offsets":[0,8]}})", 8),
              HasSubstr("dtype \"F8\", which is not read"));
  EXPECT_THAT(message_for_header(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8),
              HasSubstr("no dtype"));
  EXPECT_THAT(
      message_for_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":1}})", 8),
      HasSubstr("unknown header field \"x\""));
  EXPECT_THAT(message_for_header(R"({"__metadata__":{"a":1}})", 0), HasSubstr("no string"));
  EXPECT_THAT(message_for_header(R"({"__metadata__":"a"})", 0), HasSubstr("not a JSON object"));
}

TEST(SafetensorsReader, RefusesShapesAndOffsetsThatAreNotWholeNumbers) {
  for (const auto* shape : {"[-2]", "[2.0]", "[\"2\"]", "2", "[99999999999999999999]"}) {
    const auto header =
        fmt::format(R"({{"a":{{"dtype":"F32","shape":{},"data_offsets":[0,8]}}}})", shape);
    EXPECT_THAT(message_for_header(header, 8), HasSubstr("tensor \"a\"")) << shape;
  }
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8),
              HasSubstr("more than 2 data_offsets"));
}

TEST(SafetensorsReader, RefusesWhatIsNestedAnywhere) {
  const std::string deep(1'000'000, '[');
  for (const std::string before : {"", "{\"a\":", R"({"__metadata__":)", R"({"__metadata__":{"a":)",
                                   R"({"a":{"shape":[)", R"({"a":{"dtype":)"}) {
    EXPECT_NE(message_for_header(before + deep, 0), "") << before;
  }
}

TEST(SafetensorsReader, ReadsManyTensorsInLinearTime) {
  constexpr int kTensors = 100'000;
  std::string header = "{";
  for (int i = 0; i < kTensors; ++i) {
    header += fmt::format(R"({}"t{}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                          i == 0 ? "" : ",", i);
  }
  const auto start = std::chrono::steady_clock::now();
  const auto parsed = mos::io::parse_safetensors_header(header + "}", 0, "x");
  const auto text = mos::io::format_safetensors_header(parsed);
  // One look at every former tensor for each one takes minutes.
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
  EXPECT_EQ(parsed.tensors.size(), kTensors);
  EXPECT_EQ(mos::io::parse_safetensors_header(text, 0, "x").tensors.size(), kTensors);
}

TEST(SafetensorsReader, TakesNoMemoryForShapesThatAreNone) {
  std::string header = R"({"a":{"dtype":"U8","shape":[0)";
  for (int i = 0; i < 1'000'000; ++i) header += ",0";
  EXPECT_THAT(message_for_header(header + R"(],"data_offsets":[0,0]}})", 0),
              HasSubstr("more than 64 dimensions"));
}

TEST(SafetensorsReader, RefusesSizesThatContradictTheOffsets) {
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8),
              HasSubstr("needs 12 bytes but has 8"));
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
              HasSubstr("before it begins"));
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})", 8),
              HasSubstr("there are only 8"));
}

TEST(SafetensorsReader, RefusesSizesThatOverflow) {
  const std::string half = "4611686018427387904";  // 2^62, so that 4 bytes each make 2^64 = 0
  EXPECT_THAT(message_for_header(
                  R"({"a":{"dtype":"F32","shape":[)" + half + R"(],"data_offsets":[0,0]}})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[0,)" + half + "," + half +
                                     R"(],"data_offsets":[0,0]}})",
                                 0),
              HasSubstr("overflows"));
  EXPECT_THAT(
      message_for_header(
          R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,0]}})", 8),
      HasSubstr("before it begins"));
}

TEST(SafetensorsReader, RefusesOverlapsGapsAndLeftOvers) {
  EXPECT_THAT(message_for_header(
                  tensor_entry(R"("b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]})"), 12),
              HasSubstr("\"a\" and \"b\" overlap"));
  EXPECT_THAT(message_for_header(
                  tensor_entry(R"("b":{"dtype":"F32","shape":[1],"data_offsets":[12,16]})"), 16),
              HasSubstr("gap of 4 bytes before tensor \"b\""));
  EXPECT_THAT(message_for_header(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 12),
              HasSubstr("4 bytes after the last tensor"));
}

TEST(SafetensorsReader, ReadsUnalignedDataOfOtherWriters) {
  const mos::TempDir folder;
  const float value = 1.5F;
  std::string data(1, '\1');
  data.append(reinterpret_cast<const char*>(&value), sizeof(value));
  const std::string header = R"({"flag":{"dtype":"BOOL","shape":[],"data_offsets":[0,1]},)"
                             R"("x":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})";
  mos::io::test::write_bytes(folder / "a",
                             mos::io::test::little_endian(header.size(), 8) + header + data);
  const auto dict = mos::io::load_safetensors(folder / "a");
  EXPECT_TRUE(dict.at("flag").item<bool>());
  EXPECT_EQ(dict.at("x").item<float>(), 1.5F);
}

TEST(SafetensorsReader, TensorsOutliveTheFileAndMayBeWritten) {
  const mos::TempDir folder;
  mos::io::save_safetensors(folder / "a", {{"x", torch::arange(4)}});
  torch::Tensor x;
  {
    const SafetensorsFile file(folder / "a");
    x = file.get("x");
    EXPECT_THAT(error_of(ErrorKind::kMismatch, [&] { file.get("y"); }), HasSubstr("\"y\""));
  }
  x.add_(1);
  EXPECT_TRUE(x.equal(torch::arange(1, 5)));
  EXPECT_TRUE(mos::io::load_safetensors(folder / "a").at("x").equal(torch::arange(4)));
}

TEST(SafetensorsWriter, EveryDtypeAndShapeComesBack) {
  const mos::TempDir folder;
  StateDict dict;
  for (const auto dtype :
       {torch::kFloat64, torch::kFloat32, torch::kFloat16, torch::kBFloat16, torch::kInt64,
        torch::kInt32, torch::kInt16, torch::kInt8, torch::kUInt8, torch::kBool}) {
    const std::string name = torch::toString(dtype);
    dict[name + ".matrix"] = torch::arange(6).view({2, 3}).to(dtype);
    dict[name + ".scalar"] = torch::ones({}).to(dtype);
    dict[name + ".empty"] = torch::zeros({0, 3}).to(dtype);
  }
  dict["transposed"] = torch::arange(6.0).view({2, 3}).t();
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"näme", "wörd\n"}};

  mos::io::save_safetensors(folder / "a.safetensors", dict, metadata);

  const SafetensorsFile file(folder / "a.safetensors");
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.tensors().size(), dict.size());
  for (const auto& [name, tensor] : dict) {
    EXPECT_EQ(file.get(name).scalar_type(), tensor.scalar_type()) << name;
    EXPECT_TRUE(file.get(name).equal(tensor)) << name;
  }
}

TEST(SafetensorsWriter, SameInputMakesTheSameAlignedBytes) {
  const mos::TempDir folder;
  const StateDict dict = {{"b", torch::ones({3}, torch::kBool)},
                          {"a", torch::ones({2, 2})},
                          {"c", torch::ones({1}, torch::kFloat64)}};
  mos::io::save_safetensors(folder / "1", dict, {{"k", "v"}});
  mos::io::save_safetensors(folder / "2", dict, {{"k", "v"}});
  const auto bytes = mos::read_text_file(folder / "1");
  EXPECT_EQ(bytes, mos::read_text_file(folder / "2"));

  std::uint64_t header_length = 0;
  std::memcpy(&header_length, bytes.data(), sizeof(header_length));
  EXPECT_EQ(header_length % 8, 0U);
  auto header = bytes.substr(8, header_length);
  header.erase(header.find_last_not_of(' ') + 1);
  EXPECT_EQ(header,
            R"({"__metadata__":{"k":"v"},"c":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
            R"("a":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]},)"
            R"("b":{"dtype":"BOOL","shape":[3],"data_offsets":[24,27]}})");
}

TEST(SafetensorsWriter, LeavesNothingBehindWhenItFails) {
  const mos::TempDir folder;
  EXPECT_THAT(error_of(ErrorKind::kUsage,
                       [&] {
                         mos::io::save_safetensors(folder / "a",
                                                   {{"x", torch::ones({1}, torch::kComplexFloat)}});
                       }),
              HasSubstr("no such dtype"));
  EXPECT_THAT(error_of(ErrorKind::kUsage,
                       [&] {
                         mos::io::save_safetensors(folder / "a", {{"\xff", torch::ones({1})}});
                       }),
              HasSubstr("UTF-8"));
  EXPECT_NE(error_of(ErrorKind::kIo, [&] { mos::io::save_safetensors((folder / "no") / "a", {}); }),
            "");
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
