#include "mos/nn/kernels/attention_kernels.h"

#if defined(__x86_64__)

#include <type_traits>

#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")

#include "mos/nn/kernels/avx512_attention_backward.h"
#include "mos/nn/kernels/avx512_attention_forward.h"

namespace mos::nn::kernels {
namespace avx512 {
namespace {

constexpr int64_t kTileRows = 16;
constexpr int64_t kTilePairs = 16;  // a row of a tile: 64 bytes, 16 pairs or 16 float32

/// The eight tile registers. Written as inline assembly because GCC's intrinsics take only literal
/// register numbers and, up to GCC 12, do not tell the compiler that they read and write memory.
struct HardwareTiles {
  /// Shapes all tiles as 16 rows of 64 bytes for this thread, and frees them at the end.
  struct Scope {
    Scope() {
      alignas(64) uint8_t config[64] = {1};  // palette 1; bytes 16..31: columns, 48..55: rows
      for (int tile = 0; tile < 8; ++tile) {
        config[16 + 2 * tile] = 64;
        config[48 + tile] = kTileRows;
      }
      asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
    }
    ~Scope() { asm volatile("tilerelease" : : : "memory"); }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
  };

  template <int kTile>
  void zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kC, int kA, int kB>
  void multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
  }
};

/// The same in software.
struct EmulatedTiles {
  struct Scope {};

  template <int kTile>
  void zero() {
    std::memset(tiles[kTile], 0, sizeof(tiles[kTile]));
  }
  template <int kTile>
  void load(const void* from, int64_t stride) {
    for (int64_t row = 0; row < kTileRows; ++row) {
      std::memcpy(tiles[kTile][row], static_cast<const char*>(from) + row * stride, 64);
    }
  }
  template <int kTile>
  void store(void* to, int64_t stride) {
    for (int64_t row = 0; row < kTileRows; ++row) {
      std::memcpy(static_cast<char*>(to) + row * stride, tiles[kTile][row], 64);
    }
  }
  template <int kC, int kA, int kB>
  void multiply() {
    for (int64_t row = 0; row < kTileRows; ++row) {
      __m512 sum = _mm512_loadu_ps(tiles[kC][row]);
      for (int64_t pair = 0; pair < kTilePairs; ++pair) {
        const __m512i left = _mm512_set1_epi32(static_cast<int>(tiles[kA][row][pair]));
        sum = dot(sum, left, _mm512_loadu_si512(tiles[kB][pair]));
      }
      _mm512_storeu_ps(tiles[kC][row], sum);
    }
  }

  uint32_t tiles[8][kTileRows][kTilePairs];
};

template <class Tiles>
struct TileUnit {
  static constexpr int64_t kRowMultiple = kTileRows;
  static constexpr int64_t kPairMultiple = kTilePairs;
  using Scope = typename Tiles::Scope;

  /// Four tiles of C at a time keep every loaded tile of A and B in use twice.
  static void multiply(const PairsA& a, const PanelsB& b, int64_t rows, int64_t panels,
                       int64_t pairs, const MatrixC& c, bool accumulate) {
    for (int64_t row = 0; row < rows; row += 2 * kTileRows) {
      const PairsA left{a.data + row * a.row_stride, a.row_stride, a.pair_stride};
      for (int64_t panel = 0; panel < panels; panel += 2) {
        const PanelsB right{b.data + panel * b.panel_stride, b.panel_stride};
        const MatrixC out{c.data + row * c.stride + panel * kLanes, c.stride};
        const bool tall = rows - row > kTileRows;
        const bool wide = panels - panel > 1;
        if (tall && wide) block<2, 2>(left, right, pairs, out, accumulate);
        if (tall && !wide) block<2, 1>(left, right, pairs, out, accumulate);
        if (!tall && wide) block<1, 2>(left, right, pairs, out, accumulate);
        if (!tall && !wide) block<1, 1>(left, right, pairs, out, accumulate);
      }
    }
  }

 private:
  // Registers: C in 0 1 / 2 3, A in 4 5, B in 6 7.
  template <int kRowTiles, int kPanelTiles>
  static void block(const PairsA& a, const PanelsB& b, int64_t pairs, const MatrixC& c,
                    bool accumulate) {
    Tiles tiles;
    const auto each_c = [&](const auto& act) {
      act.template operator()<0>(c.data);
      if constexpr (kPanelTiles == 2) act.template operator()<1>(c.data + kLanes);
      if constexpr (kRowTiles == 2) act.template operator()<2>(c.data + kTileRows * c.stride);
      if constexpr (kRowTiles == 2 && kPanelTiles == 2) {
        act.template operator()<3>(c.data + kTileRows * c.stride + kLanes);
      }
    };
    const int64_t c_bytes = c.stride * static_cast<int64_t>(sizeof(float));
    each_c([&]<int kTile>(float* at) {
      if (accumulate) {
        tiles.template load<kTile>(at, c_bytes);
      } else {
        tiles.template zero<kTile>();
      }
    });
    const int64_t a_bytes = a.row_stride * static_cast<int64_t>(sizeof(uint32_t));
    for (int64_t pair = 0; pair < pairs; pair += kTilePairs) {
      tiles.template load<4>(a.data + pair, a_bytes);
      tiles.template load<6>(b.data + pair * kLanes, 64);
      tiles.template multiply<0, 4, 6>();
      if constexpr (kPanelTiles == 2) {
        tiles.template load<7>(b.data + b.panel_stride + pair * kLanes, 64);
        tiles.template multiply<1, 4, 7>();
      }
      if constexpr (kRowTiles == 2) {
        tiles.template load<5>(a.data + kTileRows * a.row_stride + pair, a_bytes);
        tiles.template multiply<2, 5, 6>();
      }
      if constexpr (kRowTiles == 2 && kPanelTiles == 2) tiles.template multiply<3, 5, 7>();
    }
    each_c([&]<int kTile>(float* at) { tiles.template store<kTile>(at, c_bytes); });
  }
};

template <class Tiles>
constexpr AttentionKernel kernel_on() {
  using Forward = ForwardPass<TileUnit<Tiles>>;
  using Backward = BackwardPass<TileUnit<Tiles>>;
  return {Forward::packed_size, Forward::pack, Forward::forward, Backward::workspace,
          Backward::backward};
}

}  // namespace
}  // namespace avx512

const AttentionKernel kAmxAttention = avx512::kernel_on<avx512::HardwareTiles>();
const AttentionKernel kEmulatedAmxAttention = avx512::kernel_on<avx512::EmulatedTiles>();

}  // namespace mos::nn::kernels

#endif  // __x86_64__
