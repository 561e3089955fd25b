--- The inner loops of forests: those of every processor say the same, and what their header says.
local ffi = require "ffi"
local lib = require("c").lib

ffi.cdef [[
typedef struct { uint16_t rank[32], slot[32]; uint32_t stay[32]; } mw_block_32;
typedef struct { uint16_t rank[64], slot[64]; uint64_t stay[64]; } mw_block_64;
typedef struct { uint16_t rank[64], slot[64]; uint8_t leaf[64]; } mw_heap;
typedef struct {
  uint32_t (*rank)(const double *thresholds, const uint32_t *levels, uint32_t count, double value);
  void (*rows_32)(const mw_block_32 *b, uint32_t tests, const uint16_t *ranks, uint32_t *leaves);
  void (*rows_64)(const mw_block_64 *b, uint32_t tests, const uint16_t *ranks, uint32_t *leaves);
  void (*row_32)(const mw_block_32 *b, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
  void (*row_heap)(const mw_heap *h, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
  void (*row_64)(const mw_block_64 *b, uint32_t trees, const uint16_t *ranks, uint32_t *leaves);
} mw_kernels;
const mw_kernels *mw_kernels_of(unsigned number);
]]

local SLOTS = 64

describe("kernels of forests", function()
  local seed = 1
  local function random(n) -- 0 … n - 1, the same on every machine
    seed = (seed * 16807) % 2147483647
    return seed % n
  end

  local function each(check)
    for number = 0, 2 do
      local k = lib.mw_kernels_of(number)
      if k ~= nil then check(k, number) end
    end
  end

  --- A tree as a heap of nodes, random in shape: { rank, slot, left, right } or { leaf }.
  local function tree(most, depth)
    local leaves = 0
    local function grow(room, left)
      if room == 1 or left == 0 then
        leaves = leaves + 1
        return { leaf = leaves - 1 }
      end
      local half = 1 + random(room - 1)
      local node = { rank = random(40), slot = random(SLOTS) }
      node.left = grow(half, left - 1)
      node.right = grow(room - half, left - 1)
      return node
    end
    local root = grow(most, depth)
    return root, leaves
  end

  local function walk(node, ranks)
    while not node.leaf do
      node = ranks[node.slot] > node.rank and node.right or node.left
    end
    return node.leaf
  end

  local function fill(block, root, count, word)
    for i = 0, count - 1 do
      block.rank[i], block.slot[i], block.stay[i] = 65535, 0, ffi.cast(word, -1)
    end
    local n = 0
    local function visit(node)
      if node.leaf then return node.leaf, node.leaf end
      local i = n
      n = n + 1
      local first, last = visit(node.left)
      local _, most = visit(node.right)
      local gone = ffi.cast("uint64_t", 0)
      for leaf = first, last do
        gone = bit.bor(gone, bit.lshift(ffi.cast("uint64_t", 1), leaf))
      end
      block.rank[i], block.slot[i], block.stay[i] = node.rank, node.slot, ffi.cast(word, bit.bnot(gone))
      return first, most
    end
    visit(root)
    return n
  end

  local function random_ranks(to, count)
    for i = 0, count - 1 do
      to[i] = random(8) == 0 and 65535 or random(42)
    end
    return to
  end

  it("come to the leaf that a walk comes to, by rows and by trees", function()
    for _, shape in ipairs { { "mw_block_32", 32, "uint32_t", "rows_32", "row_32" }, { "mw_block_64", 64, "uint64_t", "rows_64", "row_64" } } do
      for _ = 1, 60 do
        local root = tree(1 + random(shape[2]), 40)
        local block = ffi.new(shape[1] .. "[1]")
        local tests = fill(block[0], root, shape[2], shape[3])
        local ranks, leaves = random_ranks(ffi.new "uint16_t[2048]", 2048), ffi.new "uint32_t[32]"
        each(function(k, number)
          k[shape[4]](block, tests, ranks, leaves)
          for row = 0, 31 do
            local of = setmetatable({}, { __index = function(_, slot) return ranks[slot * 32 + row] end })
            assert.equal(walk(root, of), leaves[row], shape[4] .. " " .. number)
          end
          if k[shape[5]] ~= nil then
            k[shape[5]](block, 1, ranks, leaves)
            assert.equal(walk(root, ranks), leaves[0], shape[5] .. " " .. number)
          end
        end)
      end
    end
  end)

  it("walk heaps of depth 6", function()
    for _ = 1, 60 do
      local root = tree(64, 6)
      local heap = ffi.new "mw_heap[1]"
      local function place(node, at)
        if at >= 64 then
          heap[0].leaf[at - 64] = node.leaf
        elseif node.leaf then
          heap[0].rank[at] = 65535
          place(node, 2 * at)
        else
          heap[0].rank[at], heap[0].slot[at] = node.rank, node.slot
          place(node.left, 2 * at)
          place(node.right, 2 * at + 1)
        end
      end
      place(root, 1)
      local ranks, leaves = random_ranks(ffi.new "uint16_t[64]", 64), ffi.new "uint32_t[1]"
      each(function(k, number)
        if k.row_heap == nil then return end
        k.row_heap(heap, 1, ranks, leaves)
        assert.equal(walk(root, ranks), leaves[0], "kernel " .. number)
      end)
    end
  end)

  it("count the thresholds at or below a value, on every level", function()
    for _, count in ipairs { 1, 2, 15, 16, 17, 255, 256, 257, 1000, 4096, 5000 } do
      local sorted, levels, all = {}, {}, {}
      for i = 1, count do
        sorted[i] = i * 2 - count
      end
      local n, every = count, 1
      while n > 0 do
        levels[#levels + 1] = #all
        for i = 1, math.floor(n / 16) * 16 + 16 do
          all[#all + 1] = i <= n and sorted[i * every] or 0 / 0
        end
        n, every = math.floor(n / 16), every * 16
      end
      local thresholds, starts = ffi.new("double[?]", #all, all), ffi.new("uint32_t[8]", levels)
      each(function(k, number)
        for _ = 1, 200 do
          local value = random(3 * count + 3) - count - 1
          local want = math.max(0, math.min(count, math.floor((value + count) / 2)))
          assert.equal(want, k.rank(thresholds, starts, #levels, value), ("%d of %d, kernel %d"):format(value, count, number))
        end
        assert.equal(count, k.rank(thresholds, starts, #levels, math.huge))
        assert.equal(0, k.rank(thresholds, starts, #levels, -math.huge))
      end)
    end
  end)
end)
