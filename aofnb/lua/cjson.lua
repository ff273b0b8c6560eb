-- cjson: JSON text and Lua values, with the limits and the error texts of lua-cjson 2.1.0 as Redis 7.0.15 carries it.
--
-- Errors are raised without a place; the caller adds it.

local null, strtod, unwrap = ...
local type, next, rawget, tostring, error, tonumber, floor = type, next, rawget, tostring, error, tonumber, math.floor
local sub, byte, char, find, format, gsub, match = string.sub, string.byte, string.char, string.find, string.format,
  string.gsub, string.match
local concat, select = table.concat, select

local function fail(text)
  error(text, 0)
end

local ESCAPES = {['"'] = '\\"', ['\\'] = '\\\\', ['/'] = '\\/', ['\b'] = '\\b', ['\t'] = '\\t', ['\n'] = '\\n',
                 ['\f'] = '\\f', ['\r'] = '\\r', ['\127'] = '\\u007f'}
for code = 0, 31 do
  ESCAPES[char(code)] = ESCAPES[char(code)] or format('\\u%04x', code)
end
local UNESCAPES = {['"'] = '"', ['\\'] = '\\', ['/'] = '/', b = '\b', t = '\t', n = '\n', f = '\f', r = '\r'}

local function quoted(text)
  return '"' .. gsub(text, '[%c"\\/\127%z]', ESCAPES) .. '"'
end

local function utf8(code)
  if code < 0x80 then return char(code) end
  if code < 0x800 then return char(0xC0 + floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return char(0xE0 + floor(code / 4096), 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xF0 + floor(code / 262144), 0x80 + floor(code / 4096) % 64, 0x80 + floor(code / 64) % 64, 0x80 + code % 64)
end

local function new()
  local config = {
    sparse_convert = false, sparse_ratio = 2, sparse_safe = 10, encode_max_depth = 1000, decode_max_depth = 1000,
    encode_invalid_numbers = false, decode_invalid_numbers = true, keep_buffer = true, precision = 14,
  }
  local cjson = {}

  -- --- encode ----------------------------------------------------------------------------------------------------

  local function cannot(value, why)
    fail('Cannot serialise ' .. type(value) .. ': ' .. why)
  end

  local function number(n)
    if n ~= n or n == 1 / 0 or n == -1 / 0 then
      if config.encode_invalid_numbers == 'null' then return 'null' end
      if not config.encode_invalid_numbers then cannot(n, 'must not be NaN or Inf') end
      if n ~= n then return 'nan' end
      return n > 0 and 'inf' or '-inf'
    end
    return format('%.' .. config.precision .. 'g', n)
  end

  -- How many items the array has, or -1 for a table that is none.
  local function array_length(t)
    local max, count = 0, 0
    for key in next, t do
      if type(key) ~= 'number' or key < 1 or floor(key) ~= key then return -1 end
      -- Beyond an int, the server's cast gives something small.
      if key > max and key <= 2147483647 then max = key end
      count = count + 1
    end
    if config.sparse_ratio > 0 and max > count * config.sparse_ratio and max > config.sparse_safe then
      if not config.sparse_convert then cannot(t, 'excessively sparse array') end
      return -1
    end
    return max
  end

  local function append(value, out, depth)
    local kind = type(value)
    if kind == 'string' then
      out[#out + 1] = quoted(value)
    elseif kind == 'number' then
      out[#out + 1] = number(value)
    elseif kind == 'boolean' then
      out[#out + 1] = value and 'true' or 'false'
    elseif kind == 'nil' or value == null then
      out[#out + 1] = 'null'
    elseif kind == 'table' then
      depth = depth + 1
      if depth > config.encode_max_depth then fail('Cannot serialise, excessive nesting (' .. depth .. ')') end
      value = unwrap(value)
      local length = array_length(value)
      if length > 0 then
        out[#out + 1] = '['
        for i = 1, length do
          if i > 1 then out[#out + 1] = ',' end
          append(rawget(value, i), out, depth)
        end
        out[#out + 1] = ']'
      else
        out[#out + 1] = '{'
        local first = true
        for key, item in next, value do
          if not first then out[#out + 1] = ',' end
          first = false
          if type(key) == 'number' then
            out[#out + 1] = '"' .. number(key) .. '":'
          elseif type(key) == 'string' then
            out[#out + 1] = quoted(key)
            out[#out + 1] = ':'
          else
            cannot(key, 'table key must be a number or string')
          end
          append(item, out, depth)
        end
        out[#out + 1] = '}'
      end
    else
      cannot(value, 'type not supported')
    end
  end

  function cjson.encode(...)
    if select('#', ...) ~= 1 then error({1, 'expected 1 argument'}, 0) end
    local out = {}
    append(..., out, 0)
    return concat(out)
  end

  -- --- decode ----------------------------------------------------------------------------------------------------

  -- Tokens are (type, value, where); a text ends where a zero byte is, or at its end.
  local SINGLE = {['{'] = 'T_OBJ_BEGIN', ['}'] = 'T_OBJ_END', ['['] = 'T_ARR_BEGIN', [']'] = 'T_ARR_END',
                  [','] = 'T_COMMA', [':'] = 'T_COLON', [''] = 'T_END', ['\0'] = 'T_END'}

  local function invalid_number(text, at)
    local ch = sub(text, at, at)
    if ch == '+' then return true end
    if ch == '-' then at = at + 1 end
    ch = sub(text, at, at)
    if ch == '0' then return find(text, '^[xX0-9]', at + 1) ~= nil end
    if ch <= '9' then return false end
    return find(text, '^[iI][nN][fF]', at) ~= nil or find(text, '^[nN][aA][nN]', at) ~= nil
  end

  -- Returns the type, the value, where the token is, and where the next one may begin.
  local function number_token(text, at)
    local value, length = strtod(sub(text, at, at + 400))
    if length > 400 then value, length = strtod(sub(text, at)) end
    if length == 0 then return 'T_ERROR', 'invalid number', at, at end
    return 'T_NUMBER', value, at, at + length
  end

  local function string_token(text, start)
    local at, pieces = start + 1, {}
    while true do
      local stop = find(text, '["\\%z]', at)
      if not stop then return 'T_ERROR', 'unexpected end of string', #text + 1, at end
      if stop > at then pieces[#pieces + 1] = sub(text, at, stop - 1) end
      local ch = sub(text, stop, stop)
      if ch == '"' then return 'T_STRING', concat(pieces), start, stop + 1 end
      if ch == '\0' then return 'T_ERROR', 'unexpected end of string', stop, stop end
      local escape = sub(text, stop + 1, stop + 1)
      if escape == 'u' then
        local high = match(text, '^%x%x%x%x', stop + 2)
        local code, length = high and tonumber(high, 16), 6
        if code and code >= 0xD800 and code < 0xE000 then
          local low = match(text, '^\\u(%x%x%x%x)', stop + 6)
          low = low and tonumber(low, 16)
          if code >= 0xDC00 or not low or low < 0xDC00 or low > 0xDFFF then
            code = nil
          else
            code, length = (code - 0xD800) * 1024 + (low - 0xDC00) + 0x10000, 12
          end
        end
        if not code then return 'T_ERROR', 'invalid unicode escape code', stop, stop end
        pieces[#pieces + 1] = utf8(code)
        at = stop + length
      else
        local plain = UNESCAPES[escape]
        if not plain then return 'T_ERROR', 'invalid escape code', stop, stop end
        pieces[#pieces + 1] = plain
        at = stop + 2
      end
    end
  end

  local function token(text, at)
    at = find(text, '[^ \t\n\r]', at) or #text + 1
    local ch = sub(text, at, at)
    local single = SINGLE[ch]
    if single then return single, nil, at, at + 1 end
    if ch == '"' then return string_token(text, at) end
    if find(ch, '^[%-0-9]') then
      if not config.decode_invalid_numbers and invalid_number(text, at) then
        return 'T_ERROR', 'invalid number', at, at
      end
      return number_token(text, at)
    end
    if sub(text, at, at + 3) == 'true' then return 'T_BOOLEAN', true, at, at + 4 end
    if sub(text, at, at + 4) == 'false' then return 'T_BOOLEAN', false, at, at + 5 end
    if sub(text, at, at + 3) == 'null' then return 'T_NULL', null, at, at + 4 end
    if find(ch, '^[+iInN]') and config.decode_invalid_numbers and invalid_number(text, at) then
      return number_token(text, at)
    end
    return 'T_ERROR', 'invalid token', at, at
  end

  local function unexpected(what, kind, value, at)
    local found = kind == 'T_ERROR' and value or kind
    fail('Expected ' .. what .. ' but found ' .. found .. ' at character ' .. at)
  end

  local function deeper(depth, at)
    if depth > config.decode_max_depth then
      fail('Found too many nested data structures (' .. depth .. ') at character ' .. at - 1)
    end
  end

  -- The value that begins with the token given, and where the text goes on.
  local function process(text, depth, kind, value, where, at)
    if kind == 'T_STRING' or kind == 'T_NUMBER' or kind == 'T_BOOLEAN' or kind == 'T_NULL' then return value, at end
    if kind == 'T_OBJ_BEGIN' then
      deeper(depth + 1, at)
      local object = {}
      kind, value, where, at = token(text, at)
      if kind == 'T_OBJ_END' then return object, at end
      while true do
        if kind ~= 'T_STRING' then unexpected('object key string', kind, value, where) end
        local key = value
        kind, value, where, at = token(text, at)
        if kind ~= 'T_COLON' then unexpected('colon', kind, value, where) end
        object[key], at = process(text, depth + 1, token(text, at))
        kind, value, where, at = token(text, at)
        if kind == 'T_OBJ_END' then return object, at end
        if kind ~= 'T_COMMA' then unexpected('comma or object end', kind, value, where) end
        kind, value, where, at = token(text, at)
      end
    end
    if kind == 'T_ARR_BEGIN' then
      deeper(depth + 1, at)
      local array = {}
      kind, value, where, at = token(text, at)
      if kind == 'T_ARR_END' then return array, at end
      local i = 1
      while true do
        array[i], at = process(text, depth + 1, kind, value, where, at)
        kind, value, where, at = token(text, at)
        if kind == 'T_ARR_END' then return array, at end
        if kind ~= 'T_COMMA' then unexpected('comma or array end', kind, value, where) end
        kind, value, where, at = token(text, at)
        i = i + 1
      end
    end
    unexpected('value', kind, value, where)
  end

  function cjson.decode(...)
    if select('#', ...) ~= 1 then error({1, 'expected 1 argument'}, 0) end
    local text = ...
    if type(text) == 'number' then text = tostring(text) end
    if type(text) ~= 'string' then error({1, 'string expected, got ' .. type(text)}, 0) end
    if #text >= 2 and (byte(text, 1) == 0 or byte(text, 2) == 0) then
      fail('JSON parser does not support UTF-16 or UTF-32')
    end
    local value, at = process(text, 0, token(text, 1))
    local kind, rest, where = token(text, at)
    if kind ~= 'T_END' then unexpected('the end', kind, rest, where) end
    return value
  end

  -- --- settings --------------------------------------------------------------------------------------------------

  local function at_most(count, ...)
    if select('#', ...) > count then error({count + 1, 'found too many arguments'}, 0) end
  end

  local function whole(position, low, high, value)
    local given = tonumber(value)
    if not given then error({position, 'number expected, got ' .. type(value)}, 0) end
    given = given < 0 and -floor(-given) or floor(given)
    if given < low or given > high then
      error({position, 'expected integer between ' .. low .. ' and ' .. format('%d', high)}, 0)
    end
    return given
  end

  local function choice(position, value, with_null)
    if type(value) == 'boolean' then return value end
    if value == 'off' then return false end
    if value == 'on' then return true end
    if value == 'null' and with_null then return 'null' end
    if type(value) == 'string' or type(value) == 'number' then
      error({position, "invalid option '" .. value .. "'"}, 0)
    end
    error({position, 'string expected, got ' .. type(value)}, 0)
  end

  local function integer_setting(name, field, low, high)
    cjson[name] = function(...)
      at_most(1, ...)
      local value = ...
      if value ~= nil then config[field] = whole(1, low, high, value) end
      return config[field]
    end
  end

  local function choice_setting(name, field, with_null)
    cjson[name] = function(...)
      at_most(1, ...)
      local value = ...
      if value ~= nil then config[field] = choice(1, value, with_null) end
      return config[field]
    end
  end

  integer_setting('encode_max_depth', 'encode_max_depth', 1, 2147483647)
  integer_setting('decode_max_depth', 'decode_max_depth', 1, 2147483647)
  integer_setting('encode_number_precision', 'precision', 1, 14)
  choice_setting('encode_keep_buffer', 'keep_buffer')
  choice_setting('encode_invalid_numbers', 'encode_invalid_numbers', true)
  choice_setting('decode_invalid_numbers', 'decode_invalid_numbers')

  function cjson.encode_sparse_array(...)
    at_most(3, ...)
    local convert, ratio, safe = ...
    if convert ~= nil then config.sparse_convert = choice(1, convert) end
    if ratio ~= nil then config.sparse_ratio = whole(2, 0, 2147483647, ratio) end
    if safe ~= nil then config.sparse_safe = whole(3, 0, 2147483647, safe) end
    return config.sparse_convert, config.sparse_ratio, config.sparse_safe
  end

  return cjson
end

return new
