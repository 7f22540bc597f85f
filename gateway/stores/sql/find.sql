SELECT * FROM pairs WHERE request_id = $request_id ORDER BY challenger, sequence
