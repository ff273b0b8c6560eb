-- The world of a script: what it finds in its globals, and what it must not reach.
--
-- Rules of this file: nothing here but the functions put into `shown` and `api` is ever seen by a script; tables of
-- the sandbox are shown through proxies, since Lua 5.1 cannot make a table read-only; an error that comes from Python
-- is a userdata, and every function that catches errors turns it into what the server gives, or passes it on if it is
-- to end the script (killed, Ctrl-C). Functions that scripts call are C functions where an error must name the line
-- of a caller that left by a tail call; `as_function` makes them.
--
-- Redis: script_lua.c luaRegisterRedisAPI, luaSetTableProtectionRecursively; eval.c scriptingInit;
-- function_lua.c luaEngineInitEngine (7.0.15).

local explain_, tick_, every, is_function = ...
local as_function = python.as_function
local globals = _G
local getinfo, sethook = debug.getinfo, debug.sethook
local real_pairs, real_next, real_rawget, real_rawset = pairs, next, rawget, rawset
local real_setmetatable, real_getmetatable, real_error, real_type = setmetatable, getmetatable, error, type
local real_pcall, real_xpcall, real_loadstring, real_setfenv = pcall, xpcall, loadstring, setfenv
local real_tostring, real_unpack = tostring, unpack
local select, table, math, string = select, table, math, string
local sub, find, byte, gsub = string.sub, string.find, string.byte, string.gsub
local concat = table.concat
local resume, create, wrap = coroutine.resume, coroutine.create, coroutine.wrap
local explain, tick = as_function(explain_), as_function(tick_)

-- What JSON's null is to scripts: a userdata that is equal to itself alone.
local null = newproxy()

local READONLY = 'Attempt to modify a readonly table'
local MISSING = "Script attempted to access nonexistent global variable '"

-- --- read-only tables ---------------------------------------------------------------------------------------------

-- Proxy -> the table behind it, and what getmetatable shows of it.
local behind, shown_meta = {}, {}

local function deny()
  real_error(READONLY, 2)
end

local function missing(_, name)
  local kind = real_type(name)
  real_error(MISSING .. ((kind == 'string' or kind == 'number') and name or '(null)') .. "'", 2)
end

local function readonly(real, meta)
  local proxy = {}
  behind[proxy] = real
  shown_meta[proxy] = meta
  return real_setmetatable(proxy, {__index = real, __newindex = deny})
end

local function protected(real)
  return readonly(real_setmetatable(real, {__index = missing}), readonly({__index = missing}))
end

local string_meta = real_getmetatable('')
local shown_string_meta = readonly({__index = readonly(string)})

local function expected(name, position, kind, got, count)
  local given = position > count and 'no value' or real_type(got)
  real_error("bad argument #" .. position .. " to '" .. name .. "' (" .. kind .. " expected, got " .. given .. ")", 3)
end

local seen

-- --- what scripts see of the base library --------------------------------------------------------------------------

local shown = {}
for _, name in real_pairs({'assert', 'collectgarbage', 'error', 'gcinfo', 'ipairs', 'rawequal', 'select', 'tonumber',
                           'tostring', 'type', 'unpack', '_VERSION'}) do
  shown[name] = globals[name]
end

local function next(...)
  local t, key = ...
  if real_type(t) ~= 'table' then expected('next', 1, 'table', t, select('#', ...)) end
  return real_next(behind[t] or t, key)
end
shown.next = next

function shown.pairs(...)
  local t = ...
  if real_type(t) ~= 'table' then expected('pairs', 1, 'table', t, select('#', ...)) end
  if behind[t] then return next, t, nil end
  return real_next, t, nil
end

function shown.rawget(...)
  local t, key = ...
  if real_type(t) ~= 'table' then expected('rawget', 1, 'table', t, select('#', ...)) end
  return real_rawget(behind[t] or t, key)
end

function shown.rawset(...)
  local t = ...
  local rawset = real_rawset
  if behind[t] then real_error(READONLY, 0) end
  return rawset(...)
end

function shown.getmetatable(...)
  local value = ...
  local getmetatable = real_getmetatable
  if behind[value] then return shown_meta[value] end
  local meta = getmetatable(...)
  if meta == string_meta then return shown_string_meta end
  return meta
end

function shown.setmetatable(...)
  local t = ...
  local setmetatable = real_setmetatable
  if behind[t] then real_error(READONLY, 0) end
  return setmetatable(...)
end

-- The environment of everything that a script brings.
local real_globals = shown
local env_meta = {__index = real_globals, __newindex = deny}
local env = real_setmetatable({}, env_meta)
behind[env] = real_globals
shown_meta[env] = readonly({__index = missing})
real_setmetatable(real_globals, {__index = missing})
shown._G = env

-- Precompiled code can crash the interpreter, so a blank goes before its first byte and it is read as text.
local function compile(text, name)
  local code = byte(text) == 27 and ' ' .. text or text
  local compiled, problem = real_loadstring(code, name or text)
  if compiled then return real_setfenv(compiled, env) end
  return nil, problem
end

function shown.loadstring(...)
  local text, name = ...
  local loadstring = real_loadstring
  if real_type(text) ~= 'string' then return loadstring(...) end
  return compile(text, name)
end

function shown.load(...)
  local read, name = ...
  if real_type(read) ~= 'function' then expected('load', 1, 'function', read, select('#', ...)) end
  local pieces = {}
  while true do
    local ok, piece = real_pcall(read)
    if not ok then
      local problem, fatal = seen(piece)
      if fatal then real_error(problem, 0) end
      if real_type(problem) ~= 'table' then problem = {err = 'ERR ' .. real_tostring(problem)} end
      return nil, problem
    end
    if piece == nil or piece == '' then break end
    if real_type(piece) ~= 'string' and real_type(piece) ~= 'number' then
      return nil, 'reader function must return a string'
    end
    pieces[#pieces + 1] = piece
  end
  return compile(concat(pieces), name or '=(load)')
end

-- --- errors --------------------------------------------------------------------------------------------------------

-- An error from Python as the script sees it: a table {err=...}, or a text. The second result: it is not to be caught.
function seen(problem)
  if real_type(problem) ~= 'userdata' then
    if real_type(problem) == 'string' and find(problem, '^sandbox:%d+: ') then
      return (gsub(problem, '^sandbox:%d+: ', ''))
    end
    return problem
  end
  local kind, text = explain(problem)
  if kind == 'reply' then return {err = text} end
  if kind == 'counted' then return {err = text, ignore_error_stats_update = true} end
  if kind == 'text' then return text end
  return problem, true
end

local function pcalled(ok, ...)
  if ok then return ok, ... end
  local problem, fatal = seen((...))
  if fatal then real_error(problem, 0) end
  if real_type(problem) == 'table' then
    local err = problem.err
    if real_type(err) == 'string' or real_type(err) == 'number' then problem = err end
  end
  return false, problem
end

function shown.pcall(...)
  if select('#', ...) == 0 then return false, 'attempt to call a boolean value' end
  return pcalled(real_pcall(...))
end

local function caught(ok, ...)
  if ok then return ok, ... end
  local problem, fatal = seen((...))
  if fatal then real_error(problem, 0) end
  return false, problem
end

function shown.xpcall(...)
  local f, handler = ...
  local xpcall = real_xpcall
  if select('#', ...) < 2 then return xpcall(...) end
  return caught(xpcall(f, function(problem)
    local fatal
    problem, fatal = seen(problem)
    if fatal then return problem end
    return handler(problem)
  end))
end

-- A frame of the script, or of nobody: where Python was called from, for texts that begin with a place.
local function site()
  local called, caller = getinfo(2, 'n'), getinfo(3, 'Sl')
  local place = ''
  if caller and caller.currentline > 0 then place = caller.short_src .. ':' .. caller.currentline .. ': ' end
  return place, called and called.name or '?'
end

local function placed(level)
  local info = getinfo(level, 'Sl')
  if info and info.what == 'C' then
    level = level + 1
    info = getinfo(level, 'Sl')
  end
  while info and (info.source == '=sandbox' or info.source == '=(tail call)' and info.what == 'tail') do
    level = level + 1
    info = getinfo(level, 'Sl')
  end
  return info
end

-- What an uncaught error becomes, called where it was raised.
local function handler(problem)
  local info = placed(3)
  if real_type(problem) == 'userdata' then
    local kind, text = explain(problem)
    if kind == 'reply' or kind == 'killed' then
      problem = {err = text}
    elseif kind == 'counted' then
      problem = {err = text, ignore_error_stats_update = true}
    elseif kind == 'text' then
      problem = text
    else
      return problem
    end
  elseif real_type(problem) == 'string' and find(problem, '^sandbox:%d+: ') then
    local place = info and info.currentline > 0 and info.short_src .. ':' .. info.currentline .. ': ' or ''
    problem = place .. gsub(problem, '^sandbox:%d+: ', '')
  end
  if real_type(problem) ~= 'table' then problem = {err = 'ERR ' .. real_tostring(problem)} end
  if behind[problem] == nil and info then
    problem.source = info.source
    problem.line = info.currentline
  end
  return problem
end

local function run(f, ...)
  sethook(tick, '', every)
  if select('#', ...) == 0 then return real_xpcall(f, handler) end
  local first, second = ...
  return real_xpcall(function() return f(first, second) end, handler)
end

-- --- coroutines: the hook that can end a script belongs to each -----------------------------------------------------

local function watched(f)
  return function(...)
    sethook(tick, '', every)
    return f(...)
  end
end

local function lua_function(name, f)
  if real_type(f) ~= 'function' or getinfo(f, 'S').what == 'C' then
    real_error("bad argument #1 to '" .. name .. "' (Lua function expected)", 3)
  end
end

local threads = {running = coroutine.running, status = coroutine.status, yield = coroutine.yield}

function threads.create(f)
  lua_function('create', f)
  return create(watched(f))
end

function threads.wrap(f)
  lua_function('wrap', f)
  return wrap(watched(f))
end

function threads.resume(...)
  return caught(resume(...))
end

-- --- tables: nothing goes into a read-only one -------------------------------------------------------------------------

local tables = {concat = table.concat, getn = table.getn, maxn = table.maxn}

function tables.insert(...)
  local insert = table.insert
  if behind[...] then real_error(READONLY, 0) end
  return insert(...)
end

function tables.remove(...)
  local remove = table.remove
  if behind[...] then real_error(READONLY, 0) end
  return remove(...)
end

function tables.sort(...)
  local sort = table.sort
  if behind[...] then real_error(READONLY, 0) end
  return sort(...)
end

function tables.setn(...)
  local setn = table.setn
  if behind[...] then real_error(READONLY, 0) end
  return setn(...)
end

function tables.foreach(t, ...)
  local foreach = table.foreach
  return foreach(behind[t] or t, ...)
end

function tables.foreachi(t, ...)
  local foreachi = table.foreachi
  return foreachi(behind[t] or t, ...)
end

local maths = {}
for name, value in real_pairs(math) do maths[name] = value end

shown.string = behind[shown_string_meta].__index
shown.math = readonly(maths)
shown.table = readonly(tables)
shown.coroutine = readonly(threads)

-- --- values, between Python and Lua -----------------------------------------------------------------------------------

-- What kind of reply a table is; for an array the number of its items.
local function classify(t)
  t = behind[t] or t
  local value = real_rawget(t, 'err')
  if real_type(value) == 'string' then return 'err', value, real_rawget(t, 'source'), real_rawget(t, 'line') end
  value = real_rawget(t, 'ok')
  if real_type(value) == 'string' then return 'ok', value end
  value = real_rawget(t, 'double')
  if real_type(value) == 'number' then return 'double', value end
  value = real_rawget(t, 'big_number')
  if real_type(value) == 'string' then return 'big_number', value end
  value = real_rawget(t, 'verbatim_string')
  if real_type(value) == 'table' then
    local format, text = real_rawget(value, 'format'), real_rawget(value, 'string')
    if real_type(format) == 'string' and real_type(text) == 'string' then return 'verbatim_string', text, format end
  end
  value = real_rawget(t, 'map')
  if real_type(value) == 'table' then return 'map', value end
  value = real_rawget(t, 'set')
  if real_type(value) == 'table' then return 'set', value end
  local count = 0
  while real_rawget(t, count + 1) ~= nil do count = count + 1 end
  return 'array', count
end

-- Items i to j of an array, each by itself.
local function items(t, i, j)
  return real_unpack(behind[t] or t, i, j)
end

-- All keys and values, in turn.
local function entries(t)
  local flat, n = {}, 0
  for key, value in real_next, behind[t] or t do
    flat[n + 1], flat[n + 2] = key, value
    n = n + 2
  end
  return flat, n
end

-- Arrays hold what was given, false for nothing; a set is a table of its members.
local function as_set(members)
  local set = {}
  for i = 1, #members do set[members[i]] = true end
  return {set = set}
end

-- --- what is shown under its name ----------------------------------------------------------------------------------

local apis = {redis = {}, load = {}}

-- A function of Python as a function of a library; a text or a number as a constant.
local function install(library, name, value)
  local into = apis[library] or (library == 'math' and maths)
  if not into then
    into = {}
    apis[library] = into
  end
  into[name] = value ~= null and real_type(value) == 'userdata' and as_function(value) or value
end

-- A table of them, that is nobody's library.
local function with_functions(t)
  for name, value in real_next, t do
    if value ~= null and real_type(value) == 'userdata' then t[name] = as_function(value) end
  end
  return t
end

-- Functions written in Lua, behind one of Python that names the place of their errors.
local function guarded(f)
  return function(...) return real_pcall(f, ...) end
end

-- After this nothing of Lua's own globals is left.
local function finish()
  for library, api in real_pairs(apis) do
    if library ~= 'load' then shown[library] = readonly(api) end
  end
  if is_function then
    local load_globals = real_setmetatable({redis = protected(apis.load)}, {__index = missing})
    -- While a library loads it sees nothing but how to register.
    real_rawset(env_meta, 'loading', load_globals)
  end
  for name in real_pairs(globals) do globals[name] = nil end
end

local function while_loading(on)
  env_meta.__index = on and env_meta.loading or real_globals
end

local function set_global(name, value)
  real_rawset(real_globals, name, value)
end

local function unwrap(t)
  return behind[t] or t
end

local functions = {
  compile = compile, run = run, site = site, classify = classify, items = items, entries = entries, as_set = as_set,
  install = install, guarded = guarded, with_functions = with_functions, finish = finish, while_loading = while_loading, set_global = set_global,
  null = null, unwrap = unwrap,
}
return functions
