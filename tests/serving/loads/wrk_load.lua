-- Load by wrk: every answer is compared; the last line is JSON.
wrk.method, wrk.path = "POST", "/v2/models/flights/infer"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{"inputs":[{"name":"rows","datatype":"FP64","shape":[1,3],"data":[1.0,2.0,6.0]}]}'

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(_)
  wrong = 0
end

function response(status, _, body)
  if status ~= 200 or not body:find('"data":[3.0]', 1, true) then
    wrong = wrong + 1
  end
end

function done(summary, _, _)
  local of_threads, errors = 0, summary.errors
  for _, thread in ipairs(threads) do
    of_threads = of_threads + thread:get("wrong")
  end
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local seconds = summary.duration / 1e6
  io.write(string.format('{"requests":%d,"failed":%d,"wrong":%d,"seconds":%.2f}\n', summary.requests, failed, of_threads, seconds))
end
