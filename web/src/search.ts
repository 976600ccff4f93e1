// Text search: all words and "phrases", without regard to case or to the composition of accents.

/** A text normalised for search. */
export const searchable = (text: string): string => text.normalize("NFC").toLowerCase();

/** The words and phrases of a search. */
export const searchTerms = (search: string): string[] =>
  [...searchable(search).matchAll(/"([^"]+)"|[^\s"]+/g)].map(([word, phrase]) => phrase ?? word);

/** Returns whether a text contains all words and phrases of a search. */
export function matcher(search: string): (text: string) => boolean {
  const terms = searchTerms(search);
  return (text) => {
    const searched = searchable(text);
    return terms.every((term) => searched.includes(term));
  };
}
