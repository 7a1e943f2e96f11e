"use strict";
// What the scripts of all pages share. Text becomes a text node and nothing else.
const $ = (id) => document.getElementById(id);
const range = (start, stop) => Array.from({ length: Math.max(0, stop - start) }, (_, place) => start + place);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
const html = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

/** Show a message where there is one. */
function tell(id, message) {
  $(id).textContent = message;
  $(id).hidden = !message;
}

/** Return a function that writes what it is given into the page's address, a little later. */
function addressWriter() {
  let waiting = 0;
  return (address) => {
    clearTimeout(waiting); // browsers refuse an address that changes many times a second
    waiting = setTimeout(() => {
      try {
        if (location.hash !== address) history.replaceState(null, "", address);
      } catch {
        // A frame inside another page, as in a notebook, has no address of its own.
      }
    }, 120);
  };
}
