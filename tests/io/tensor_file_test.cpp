#include "mos/io/tensor_file.h"

#include <gmock/gmock.h>

#include <cstring>
#include <memory>

#include "mos/base/file.h"
#include "mos/io/mapped_file.h"
#include "mos/io/mapped_tensor.h"
#include "mos/io/picture_name.h"
#include "mos/io/safetensors.h"
#include "mos/io/torch_writer.h"
#include "tests/io/bytes.h"
#include "tests/support/temp_dir.h"

namespace mos::io {
namespace {

using test::error_of;
using test::write_bytes;
using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;
using Dict = TorchValue::Dict;

class TensorFiles : public testing::Test {
 protected:
  const TempDir folder_;
  const torch::Tensor weight_ = torch::arange(6, torch::kFloat32).view({2, 3});
};

TEST_F(TensorFiles, AreToldApartByTheirFirstBytesAndNotByTheirNames) {
  save_safetensors(folder_ / "a.ckpt", {{"w", weight_}}, {{"kind", "test"}});
  save_torch_file(folder_ / "b.safetensors", {Dict{{"w", {weight_}}}});
  const auto a = read_tensor_file(folder_ / "a.ckpt");
  EXPECT_EQ(a.format, "safetensors");
  EXPECT_THAT(a.metadata, UnorderedElementsAre(Pair("kind", "test")));
  const auto b = read_tensor_file(folder_ / "b.safetensors");
  EXPECT_EQ(b.format, "torch.save");
  EXPECT_TRUE(a.tensors.at("w").equal(weight_));
  EXPECT_TRUE(b.tensors.at("w").equal(weight_));
}

TEST_F(TensorFiles, PointersOfGitLfsAreNamedForWhatTheyAre) {
  for (const char* name : {"a.safetensors", "a.pt", "a.bin", "a"}) {
    write_bytes(folder_ / name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
    EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { read_tensor_file(folder_ / name); }),
                HasSubstr("git lfs pull"))
        << name;
  }
}

TEST_F(TensorFiles, WhoseNamesAreTooLongAreNamed) {
  TorchValue::Dict inside;
  for (int i = 0; i < 100; ++i) inside.emplace_back(std::to_string(i), TorchValue{weight_});
  save_torch_file(folder_ / "long.pt", {Dict{{std::string(1'000'000, 'x'), {inside}}}});
  EXPECT_THAT(error_of(ErrorKind::kFormat, [&] { read_tensor_file(folder_ / "long.pt"); }),
              HasSubstr("long.pt: the names of its tensors are too long"));
}

TEST_F(TensorFiles, LoseTheLevelThatTrainersPutAroundTheModel) {
  TorchValue::List states;
  states.push_back({Dict{{"exp_avg", {weight_}}}});
  save_torch_file(folder_ / "a.ckpt", {Dict{{"epoch", {std::int64_t{3}}},
                                            {"note", {std::string("kept")}},
                                            {"rate", {0.5}},
                                            {"optimizer_states", {states}},
                                            {"state_dict", {Dict{{"layer.weight", {weight_}}}}}}});
  const auto file = read_tensor_file(folder_ / "a.ckpt");
  ASSERT_EQ(file.tensors.size(), 1U);
  EXPECT_TRUE(file.tensors.at("layer.weight").equal(weight_));
  EXPECT_THAT(file.metadata,
              UnorderedElementsAre(Pair("epoch", "3"), Pair("note", "kept"), Pair("rate", "0.5")));
}

TEST_F(TensorFiles, NestedDictionariesAreNamedByTheirPath) {
  save_torch_file(folder_ / "a.pt", {Dict{{"params", {Dict{{"unet", {Dict{{"w", {weight_}}}}}}}}}});
  EXPECT_TRUE(read_tensor_file(folder_ / "a.pt").tensors.contains("params/unet/w"));
}

TEST_F(TensorFiles, WhatIsDamagedIsSaidInTheWordsOfItsName) {
  const auto refusal = [&](const char* name, std::string_view bytes) {
    write_bytes(folder_ / name, bytes);
    return error_of(ErrorKind::kFormat, [&] { read_tensor_file(folder_ / name); });
  };
  EXPECT_THAT(refusal("a.safetensors", "short"), HasSubstr("too few for a safetensors file"));
  EXPECT_THAT(refusal("a.txt", "a text, no tensors"), HasSubstr("neither safetensors nor"));
  EXPECT_THAT(refusal("empty.bin", ""), HasSubstr("empty.bin"));
  EXPECT_THAT(error_of(ErrorKind::kIo, [&] { read_tensor_file(folder_.path()); }),
              HasSubstr("it is a folder"));
  EXPECT_NE(error_of(ErrorKind::kIo, [&] { read_tensor_file(folder_ / "absent.pt"); }), "");
}

TEST_F(TensorFiles, WritingToATensorLeavesItsFile) {
  const auto path = folder_ / "a.safetensors";
  save_safetensors(path, {{"w", weight_}});
  const auto bytes = read_text_file(path);
  auto file = read_tensor_file(path);
  file.tensors.at("w").fill_(9.0);
  EXPECT_EQ(read_text_file(path), bytes);
  EXPECT_TRUE(read_tensor_file(path).tensors.at("w").equal(weight_));
}

TEST_F(TensorFiles, AMappedTensorOutlivesItsFileAndItsName) {
  const auto path = folder_ / "raw";
  write_bytes(path, std::string_view(static_cast<const char*>(weight_.data_ptr()), 24));
  torch::Tensor tensor;
  {
    const auto file = std::make_shared<const MappedFile>(path);
    tensor = mapped_tensor(file, {file->text(), {}}, {2, 3}, torch::kFloat32);
  }
  std::filesystem::remove(path);
  EXPECT_TRUE(tensor.equal(weight_));
}

TEST_F(TensorFiles, BytesAtAnOddPlaceAreCopied) {
  const auto path = folder_ / "raw";
  write_bytes(path, "x" + std::string(static_cast<const char*>(weight_.data_ptr()), 24));
  const auto file = std::make_shared<const MappedFile>(path);
  const auto tensor = mapped_tensor(file, {file->text().substr(1), {}}, {6}, torch::kFloat32);
  EXPECT_TRUE(tensor.equal(weight_.flatten()));
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.data_ptr()) % sizeof(float), 0U);
}

TEST_F(TensorFiles, ReleasedPagesAreReadFromTheFileAgain) {
  const auto path = folder_ / "pages";
  const std::string bytes(1 << 20, 'a');
  write_bytes(path, bytes);
  const MappedFile file(path);
  std::memset(file.data(), 'b', file.size());  // ours alone: the mapping is private
  EXPECT_EQ(file.text().front(), 'b');
  file.release(file.data(), file.size());
  EXPECT_EQ(file.text(), bytes);
  write_bytes(folder_ / "empty", "");
  EXPECT_EQ(MappedFile(folder_ / "empty").size(), 0U);
}

TEST(PictureNames, EndAsReadersTakeThemInAnyCase) {
  for (const char* name : {"a.png", "a.JPG", "b.jpeg", "b.jfif", "c.WebP"}) {
    EXPECT_TRUE(is_picture_name(name)) << name;
  }
  for (const char* name : {"a.gif", "png", ".png", "a.png.txt", "a"}) {
    EXPECT_FALSE(is_picture_name(name)) << name;
  }
}

}  // namespace
}  // namespace mos::io
