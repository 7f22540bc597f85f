SELECT request_id, at_us, difference, paths, slices, champion_status, challenger_status
FROM pairs
WHERE model = $model AND challenger = $challenger AND champion = $champion AND NOT agree
ORDER BY difference IS NULL DESC, difference DESC, at_us DESC, request_id
LIMIT $most
