// A part of GraphiQL's page where the server needs a token. The answer to a request without one then names the
// editor in which to write it, and so does the documentation instead of "Error fetching schema".
{
  const fetchAsBefore = window.fetch.bind(window);
  const message =
    "This server needs a token. Write it into the editor Headers (below the query) in place of TOKEN, and run the query again; " +
    "the button Re-fetch GraphQL schema then loads the documentation.";

  window.fetch = async (input, init) => {
    const response = await fetchAsBefore(input, init);
    document.documentElement.classList.toggle("needs-token", response.status === 401);
    if (response.status !== 401) return response;
    const answer = await response.json().catch(() => ({}));
    const [error] = answer.errors ?? [];
    return Response.json({ errors: [{ ...error, message }] }, { status: 401, headers: response.headers });
  };
}
