-- cmsgpack: MessagePack and Lua values, as lua-cmsgpack 0.4.0 in Redis 7.0.15 does it.
--
-- Errors are raised without a place; the caller adds it. Numbers beyond a byte are packed and read by Python.

local pack_number, read_number, unwrap = ...
local type, next, select, error, floor, tonumber = type, next, select, error, math.floor, tonumber
local tostring, unpack = tostring, unpack
local byte, char, sub = string.byte, string.char, string.sub
local concat = table.concat

-- Tables deeper than this become nil.
local MAX_NESTING = 16

local function fail(text)
  error(text, 0)
end

local function big_endian(n, size)
  if size == 2 then return char(floor(n / 256), n % 256) end
  return char(floor(n / 16777216), floor(n / 65536) % 256, floor(n / 256) % 256, n % 256)
end

-- --- pack ------------------------------------------------------------------------------------------------------------

local function is_array(t)
  local max, count = 0, 0
  for key in next, t do
    if type(key) ~= 'number' or key <= 0 or key > 2147483647 or floor(key) ~= key then return false end
    if key > max then max = key end
    count = count + 1
  end
  return max == count
end

local function append(value, out, level)
  local kind = type(value)
  if kind == 'table' and level == MAX_NESTING then kind = 'nil' end
  if kind == 'string' then
    local size = #value
    if size < 32 then
      out[#out + 1] = char(0xA0 + size)
    elseif size <= 0xFF then
      out[#out + 1] = char(0xD9, size)
    elseif size <= 0xFFFF then
      out[#out + 1] = '\218' .. big_endian(size, 2)
    else
      out[#out + 1] = '\219' .. big_endian(size, 4)
    end
    out[#out + 1] = value
  elseif kind == 'number' then
    if value >= 0 and value <= 127 and floor(value) == value then
      out[#out + 1] = char(value)
    else
      out[#out + 1] = pack_number(value)
    end
  elseif kind == 'boolean' then
    out[#out + 1] = value and '\195' or '\194'
  elseif kind == 'table' then
    value = unwrap(value)
    if is_array(value) then
      local count = #value
      out[#out + 1] = count <= 15 and char(0x90 + count) or count <= 0xFFFF and '\220' .. big_endian(count, 2)
        or '\221' .. big_endian(count, 4)
      for i = 1, count do append(value[i], out, level + 1) end
    else
      local count = 0
      for _ in next, value do count = count + 1 end
      out[#out + 1] = count <= 15 and char(0x80 + count) or count <= 0xFFFF and '\222' .. big_endian(count, 2)
        or '\223' .. big_endian(count, 4)
      for key, item in next, value do
        append(key, out, level + 1)
        append(item, out, level + 1)
      end
    end
  else
    out[#out + 1] = '\192'
  end
end

local cmsgpack = {}

function cmsgpack.pack(...)
  local count = select('#', ...)
  if count == 0 then error({0, 'MessagePack pack needs input.'}, 0) end
  local out = {}
  for i = 1, count do append((select(i, ...)), out, 0) end
  return concat(out)
end

-- --- unpack ----------------------------------------------------------------------------------------------------------

local SIZES = {[0xCC] = 1, [0xCD] = 2, [0xCE] = 4, [0xCF] = 8, [0xD0] = 1, [0xD1] = 2, [0xD2] = 4, [0xD3] = 8,
               [0xCA] = 4, [0xCB] = 8}
local LENGTHS = {[0xD9] = 1, [0xDA] = 2, [0xDB] = 4,
                 [0xDC] = 2, [0xDD] = 4, [0xDE] = 2, [0xDF] = 4}

local function need(text, at, count)
  if at + count - 1 > #text then fail('Missing bytes in input.') end
end

local function unsigned(text, at, size)
  local n = 0
  for i = at, at + size - 1 do n = n * 256 + byte(text, i) end
  return n
end

local decode

local function array(text, at, count)
  local t = {}
  for i = 1, count do t[i], at = decode(text, at) end
  return t, at
end

local function map(text, at, count)
  local t = {}
  for _ = 1, count do
    local key, value
    key, at = decode(text, at)
    value, at = decode(text, at)
    if key == nil then error({-1, 'table index is nil'}, 0) end
    if key ~= key then error({-1, 'table index is NaN'}, 0) end
    t[key] = value
  end
  return t, at
end

-- The value at `at`, and where the next one begins.
function decode(text, at)
  need(text, at, 1)
  local first = byte(text, at)
  if first <= 0x7F then return first, at + 1 end
  if first >= 0xE0 then return first - 256, at + 1 end
  if first <= 0x8F then return map(text, at + 1, first - 0x80) end
  if first <= 0x9F then return array(text, at + 1, first - 0x90) end
  if first <= 0xBF then
    local size = first - 0xA0
    need(text, at + 1, size)
    return sub(text, at + 1, at + size), at + 1 + size
  end
  if first == 0xC0 then return nil, at + 1 end
  if first == 0xC2 then return false, at + 1 end
  if first == 0xC3 then return true, at + 1 end
  local size = SIZES[first]
  if size then
    need(text, at + 1, size)
    return read_number(first, sub(text, at + 1, at + size)), at + 1 + size
  end
  size = LENGTHS[first]
  if not size then fail('Bad data format in input.') end
  need(text, at + 1, size)
  local count = unsigned(text, at + 1, size)
  at = at + 1 + size
  if first == 0xDC or first == 0xDD then return array(text, at, count) end
  if first == 0xDE or first == 0xDF then return map(text, at, count) end
  need(text, at, count)
  return sub(text, at, at + count - 1), at + count
end

local function given(position, ...)
  return position > select('#', ...) and 'no value' or type((select(position, ...)))
end

local function text_argument(...)
  local text = ...
  if type(text) == 'number' then return tostring(text) end
  if type(text) ~= 'string' then error({1, 'string expected, got ' .. given(1, ...)}, 0) end
  return text
end

local function whole_argument(position, default, ...)
  local value = select(position, ...)
  if value == nil and default then return default end
  local n = tonumber(value)
  if not n then error({position, 'number expected, got ' .. given(position, ...)}, 0) end
  return n < 0 and -floor(-n) or floor(n)
end

-- Up to `limit` values from `offset` on, their number, and where the next would begin: -1 at the end.
local function unpack_from(text, limit, offset)
  local results, count, at = {}, 0, offset + 1
  while at <= #text and count < limit do
    count = count + 1
    results[count], at = decode(text, at)
  end
  return results, count, at > #text and -1 or at - 1
end

local function unpack_some(text, limit, offset)
  if offset < 0 or limit < 0 then
    fail('Invalid request to unpack with offset of ' .. offset .. ' and limit of ' .. #text .. '.')
  end
  if offset > #text then fail('Start offset ' .. offset .. ' greater than input length ' .. #text .. '.') end
  local results, count, rest = unpack_from(text, limit, offset)
  return rest, unpack(results, 1, count)
end

function cmsgpack.unpack(...)
  local results, count = unpack_from(text_argument(...), 1 / 0, 0)
  return unpack(results, 1, count)
end

function cmsgpack.unpack_one(...)
  local text = text_argument(...)
  return unpack_some(text, 1, whole_argument(2, 0, ...))
end

function cmsgpack.unpack_limit(...)
  local text = text_argument(...)
  local limit, offset = whole_argument(2, nil, ...), whole_argument(3, 0, ...)
  if limit == 0 and offset == 0 then return cmsgpack.unpack(text) end
  -- No limit is all, without the offset in front.
  if limit == 0 then return select(2, unpack_some(text, 1 / 0, offset)) end
  return unpack_some(text, limit, offset)
end

return cmsgpack
